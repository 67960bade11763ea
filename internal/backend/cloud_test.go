package backend

import (
	"context"
	"errors"
	"testing"
)

func TestCloudModelsAreKnownByTheirTag(t *testing.T) {
	for name, want := range map[string]bool{
		"gpt-oss:cloud":                     true,
		"gpt-oss:120b-cloud":                true,
		"gpt-oss:120b:cloud":                true,
		"GPT-OSS:120B-Cloud":                true,
		"gpt-oss:CLOUD":                     true,
		"someone/model:cloud":               true,
		"registry.example:5000/a/b:1-cloud": true,
		"gpt-oss: cloud ":                   true, // Ollama trims the tag

		"":                              false,
		"cloud":                         false,
		"gpt-oss-cloud":                 false, // :latest
		"gpt-oss-cloud:latest":          false,
		"cloud:latest":                  false,
		"gpt-oss:120b":                  false,
		"gpt-oss:cloudy":                false,
		"gpt-oss:mycloud":               false,
		"gpt-oss:cloud:local":           false,
		"gpt-oss:120b:local":            false,
		"registry.example:5000/x-cloud": false,
		"registry.example:5000/a/cloud": false,
	} {
		if got := IsCloudName(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

func TestLocalSuffixNamesTheModelBeforeIt(t *testing.T) {
	for name, want := range map[string]string{
		"qwen3:local": "qwen3:latest", "qwen3:8b:local": "qwen3:8b", "Qwen3:LOCAL": "qwen3:latest",
		"qwen3": "", "local": "", ":local": "", "qwen3:locally": "", "": "",
	} {
		if got, ok := WithoutLocal(name); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", name, got, ok, want)
		}
	}
}

// describing is a host that describes and lists models so.
type describing struct {
	Backend
	show   *ModelInfo
	models []Model
	err    error
}

func (d describing) Show(context.Context, string) (*ModelInfo, error) { return d.show, d.err }
func (d describing) Models(context.Context) ([]Model, error)          { return d.models, d.err }

func TestHostThatCannotBeAskedIsNotTakenForOneThatRunsTheModel(t *testing.T) {
	failed := func(class Class, status int, err error) describing {
		return describing{err: &Error{Class: class, Status: status, Err: err}}
	}
	cut := errors.New("unexpected EOF")
	for name, c := range map[string]struct {
		host    describing
		inCloud bool
		fails   bool
	}{
		"runs it":             {host: describing{show: &ModelInfo{}, models: []Model{{Name: "other:latest", RemoteHost: "https://ollama.com"}}}},
		"describes a remote":  {host: describing{show: &ModelInfo{RemoteHost: "https://ollama.com"}}, inCloud: true},
		"names another model": {host: describing{show: &ModelInfo{RemoteModel: "big"}}, inCloud: true},
		"lists a remote":      {host: describing{show: &ModelInfo{}, models: []Model{{Name: "Mine", RemoteModel: "big"}}}, inCloud: true},
		"knows no endpoint":   {host: failed(Server, 404, nil)},
		"refuses the method":  {host: failed(Server, 405, nil)},
		"is something else":   {host: failed(Server, 0, nil)},
		"is broken":           {host: failed(Server, 500, nil), fails: true},
		"is cut off":          {host: failed(Server, 0, cut), fails: true},
		"is down":             {host: failed(Transport, 0, nil), fails: true},
		"is busy":             {host: failed(Overload, 503, nil), fails: true},
		"wants a key":         {host: failed(Unauthorized, 401, nil), fails: true},
		"lacks the model":     {host: failed(ModelMissing, 404, nil), fails: true},
	} {
		got, err := RunsInCloud(t.Context(), c.host, "mine:latest")
		if got != c.inCloud || (err != nil) != c.fails {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}
