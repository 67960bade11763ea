package backend

import "testing"

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
