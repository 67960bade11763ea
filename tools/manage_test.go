package tools_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/manage"
	"ollama-mcp/pool"
	"ollama-mcp/tools"
)

// admin is who may manage models.
var admin = caller.Caller{Admin: true}

// twoHosts makes the tools use two hosts, of which the first has a model that the other lacks.
func twoHosts(c *client) (a, b *backendtest.Host) {
	a = backendtest.New("gpu-1").Install(backendtest.Model{Name: "only:a"})
	b = backendtest.New("gpu-2")
	c.useAll(pool.Options{}, a, b)
	return a, b
}

// hostsOf are the hosts in a result, with ! behind those where it failed.
func hostsOf(a answer) string {
	var names []string
	results, _ := a.StructuredContent["results"].([]any)
	for _, r := range results {
		one := r.(map[string]any)
		name := fmt.Sprint(one["host"])
		if one["done"] != true {
			name += "!"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestModelIsLoadedAndUnloadedOnTheHostsThatHaveIt(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		a, b := twoHosts(c)
		if got := hostsOf(c.succeeds("load-model", `{"model":"tiny","keep_alive":"-1"}`)); got != "gpu-1 gpu-2" {
			t.Errorf("tiny is loaded on %s", got)
		}
		if got := hostsOf(c.succeeds("load-model", `{"model":"ONLY:a"}`)); got != "gpu-1" {
			t.Errorf("only:a is loaded on %s", got)
		}
		if a.Stats().Loads != 2 || b.Stats().Loads != 1 {
			t.Errorf("%d and %d loads, want 2 and 1", a.Stats().Loads, b.Stats().Loads)
		}
		running := fmt.Sprint(c.succeeds("list-running", `{}`).StructuredContent["models"])
		if strings.Count(running, "model:tiny:latest") != 2 || !strings.Contains(running, "only:a") || strings.Count(running, "expires_at") != 1 {
			t.Errorf("in memory are %s, want two that never leave it and one that does", running)
		}
		if got := hostsOf(c.succeeds("unload-model", `{"model":"tiny","host":"gpu-2"}`)); got != "gpu-2" {
			t.Errorf("unloaded on %s, want gpu-2", got)
		}
		again := c.succeeds("unload-model", `{"model":"tiny"}`)
		if !strings.Contains(fmt.Sprint(again.StructuredContent), "it was not in memory") {
			t.Errorf("got %v, want a note that one host had not loaded it", again.StructuredContent)
		}
		if left := fmt.Sprint(c.succeeds("list-running", `{}`).StructuredContent["models"]); strings.Contains(left, "tiny") {
			t.Errorf("in memory are %s", left)
		}
		c.fails("load-model", `{"model":"nothere"}`, "model_not_found", "no host has", "pull-model")
		c.fails("load-model", `{"model":"tiniy"}`, "model_not_found", `or did you mean "tiny"?`)
		c.fails("show-model", `{"model":"Only"}`, "model_not_found", `did you mean "only:a"?`)
		c.as(admin).fails("copy-model", `{"source":"only:b","destination":"x"}`, "model_not_found", `did you mean "only:a"?`)
		c.as(admin).fails("delete-model", `{"model":"only:b"}`, "model_not_found", `did you mean "only:a"?`)
		kept := c.as(caller.Caller{ID: "y", Models: []string{"only:b"}}).fails("show-model", `{"model":"only:b"}`, "model_not_found")
		if strings.Contains(kept.Content[0].Text, "only:a") {
			t.Errorf("a model that the caller may not use is named: %s", kept.Content[0].Text)
		}
		c.fails("load-model", `{"model":"only:a","host":"gpu-2"}`, "model_not_found", "gpu-2 does not have")
		c.fails("load-model", `{"model":"tiny","host":"gpu-9"}`, "invalid_argument", "known are gpu-1, gpu-2")
		c.fails("load-model", `{"model":"tiny","keep_alive":0}`, "invalid_argument", "unload-model")
		c.as(caller.Caller{ID: "x", Models: []string{"other:*"}}).fails("unload-model", `{"model":"tiny"}`, "forbidden", "may not use")
	})
}

func TestModelThatIsInUseLeavesMemoryWhenItsCallsHaveEnded(t *testing.T) {
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("one two three").TokenTime(10 * time.Second))
		done := make(chan answer)
		go func() { done <- c.call(c.context(), "generate", `{"model":"tiny","prompt":"?"}`) }()
		if err := host.Wait(t.Context(), func(s backendtest.Stats) bool { return s.Loads == 1 }); err != nil {
			t.Fatal(err)
		}
		a := c.as(admin).succeeds("delete-model", `{"model":"tiny","confirm":true}`)
		if !strings.Contains(fmt.Sprint(a.StructuredContent), "when they have ended") || host.Has("tiny") {
			t.Errorf("got %v, want it deleted with a note", a.StructuredContent)
		}
		if a := <-done; a.IsError || a.Content[0].Text != "one two three" {
			t.Errorf("the call that used it got %+v", a)
		}
	})
}

func TestModelIsPulledWithProgressInBytes(t *testing.T) {
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		const gigabyte = 1_000_000_000
		host := c.use(backendtest.New("gpu-1").Pulls(
			backendtest.PullStep{Step: backend.Step{Status: "pulling manifest"}},
			backendtest.PullStep{Step: backend.Step{Status: "pulling a", Digest: "sha256:a", Total: 4 * gigabyte, Completed: gigabyte}, After: time.Minute},
			backendtest.PullStep{Step: backend.Step{Status: "verifying sha256 digest"}, After: 10 * time.Minute},
		))
		a := c.as(admin).succeeds("pull-model", `{"model":"new:8b"}`)
		job := fmt.Sprint(a.StructuredContent["job"])
		at := c.succeeds("job", `{"id":"`+job+`","wait_seconds":60}`).StructuredContent
		if at["done"] != float64(gigabyte) || at["of"] != 4.0*gigabyte || at["progress"] != "downloading on gpu-1, 1.0 GB of 4.0 GB" || at["expected_seconds"] == nil {
			t.Errorf("after a minute and a half got %v", at)
		}
		if got := hostsOf(c.succeeds("job", `{"id":"`+job+`","wait_seconds":4000}`)); got != "gpu-1" || !host.Has("new:8b") {
			t.Errorf("pulled to %q", got)
		}
	})
}

func TestPullGoesToTheHostsThatHaveTheModelOrElseToAll(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		a, b := twoHosts(c)
		for args, want := range map[string]string{
			`{"model":"only:a"}`:              "gpu-1",
			`{"model":"new"}`:                 "gpu-1 gpu-2",
			`{"model":"new2","host":"gpu-2"}`: "gpu-2",
		} {
			if got := hostsOf(c.as(admin).succeeds("pull-model", args)); got != want {
				t.Errorf("%s: pulled to %s, want %s", args, got, want)
			}
		}
		b.Pulls(backendtest.PullStep{Error: "write /x: no space left on device"})
		one := c.as(admin).succeeds("pull-model", `{"model":"new3"}`)
		if got := hostsOf(one); got != "gpu-1 gpu-2!" || !strings.Contains(one.Content[0].Text, "delete-model removes") || !strings.Contains(one.Content[0].Text, "failed on 1 of 2 hosts") {
			t.Errorf("got %s: %s", got, one.Content[0].Text)
		}
		a.Pulls(backendtest.PullStep{Error: "pull model manifest: file does not exist"})
		c.as(admin).fails("pull-model", `{"model":"new4"}`, "model_not_found", "ollama.com/search", "gpu-2")
	})
}

func TestModelsAreManagedByAdministratorsOnly(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		for tool, args := range map[string]string{
			"pull-model": `{"model":"x"}`, "delete-model": `{"model":"tiny","confirm":true}`,
			"copy-model": `{"source":"tiny","destination":"x"}`, "create-model": `{"model":"x","from":"tiny"}`,
		} {
			c.as(caller.Caller{ID: "someone"}).fails(tool, args, "forbidden", "administrator")
			c.as(caller.Caller{Admin: true, Models: []string{"other:*"}}).fails(tool, args, "forbidden", "may not use")
		}
	})
}

func TestNoModelIsReplacedUnlessSaid(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		a, _ := twoHosts(c)
		c = c.as(admin)
		c.fails("copy-model", `{"source":"only:a","destination":"tiny"}`, "invalid_argument", `has a model "tiny" already`, "overwrite: true")
		c.fails("create-model", `{"model":"tiny","from":"only:a"}`, "invalid_argument", "already")
		if got := hostsOf(c.succeeds("copy-model", `{"source":"only:a","destination":"mine/copy:v1"}`)); got != "gpu-1" || !a.Has("mine/copy:v1") {
			t.Errorf("copied on %s", got)
		}
		c.succeeds("copy-model", `{"source":"only:a","destination":"tiny","overwrite":true}`)
		c.succeeds("create-model", `{"model":"tiny","from":"only:a","system":"be brief","template":"{{ .Prompt }}","quantize":"q4_K_M",
			"parameters":{"temperature":0.5},"messages":[{"role":"user","content":"hi"}],"overwrite":true}`)
		made := a.Created()
		if len(made) != 1 || made[0].From != "only:a" || made[0].System != "be brief" || made[0].Quantize != "q4_K_M" || made[0].Parameters["temperature"] != 0.5 || len(made[0].Messages) != 1 {
			t.Errorf("the host was asked for %+v", made)
		}
		c.fails("create-model", `{"model":"x","from":"nothere"}`, "model_not_found", "no host has")
		c.fails("create-model", `{"model":"x"}`, "invalid_argument", `"from" and "file"`)
		c.fails("copy-model", `{"source":"tiny","destination":"a b"}`, "invalid_argument", `"destination"`)
	})
}

// gguf is the head of a file without values and tensors.
const gguf = "GGUF\x03\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"

func TestModelIsMadeOfAFileInAnAllowedDirectory(t *testing.T) {
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		c.allow(map[string]string{"good.gguf": gguf + "and more", "broken.gguf": gguf + "broken", "cut.gguf": gguf[:20], "text.txt": "hello"})
		a, b := twoHosts(c)
		c = c.as(admin)
		if got := hostsOf(c.succeeds("create-model", `{"model":"mine","file":"good.gguf"}`)); got != "gpu-1 gpu-2" || !a.Has("mine") || !b.Has("mine") {
			t.Errorf("made on %s", got)
		}
		if made := a.Created(); len(made) != 1 || len(made[0].Files) != 1 || made[0].From != "" {
			t.Errorf("the host was asked for %+v", made)
		}
		for file, words := range map[string][]string{
			"broken.gguf": {"invalid_argument", "damaged"}, "cut.gguf": {"invalid_argument", "damaged: it is cut short"}, "text.txt": {"invalid_argument", "is no GGUF"},
			"nothere.gguf": {"invalid_argument", "does not exist"}, ".": {"invalid_argument", "directory"}, "../x.gguf": {"forbidden", "outside"},
		} {
			c.fails("create-model", `{"model":"other","file":"`+file+`","host":"gpu-1"}`, words[0], words[1])
		}
		c.fails("create-model", `{"model":"other","file":"good.gguf","from":"tiny"}`, "invalid_argument", "exclude each other")
	})
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		twoHosts(c)
		c.as(admin).fails("create-model", `{"model":"other","file":"good.gguf"}`, "forbidden", "--allow-dir")
	})
}

func TestDeletingNeedsConsent(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		a, b := twoHosts(c)
		c = c.as(admin)
		c.fails("delete-model", `{"model":"tiny"}`, "invalid_argument", "consent", "confirm: true")
		c.fails("delete-model", `{"model":"nothere"}`, "model_not_found", "no host has")
		if !a.Has("tiny") {
			t.Fatal("it was deleted without consent")
		}
		if got := hostsOf(c.succeeds("delete-model", `{"model":"tiny","host":"gpu-2","confirm":true}`)); got != "gpu-2" || !a.Has("tiny") || b.Has("tiny") {
			t.Errorf("deleted on %s", got)
		}
	})
}

func TestModelIsDescribed(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		twoHosts(c)
		c.succeeds("load-model", `{"model":"tiny","host":"gpu-2"}`)
		got := c.succeeds("show-model", `{"model":"tiny"}`).StructuredContent
		for key, want := range map[string]string{
			"model": "tiny:latest", "hosts": "[gpu-1 gpu-2]", "context_length": "4096", "license": "none", "quantization": "Q4_K_M",
			"capabilities": "[completion tools thinking embedding]", "template": "{{ .Prompt }}",
		} {
			if fmt.Sprint(got[key]) != want {
				t.Errorf("%s is %v, want %s", key, got[key], want)
			}
		}
		if text := fmt.Sprint(got["memory"]); !strings.Contains(text, "fits into the GPU of gpu-2") || !strings.Contains(fmt.Sprint(got["loaded"]), "gpu-2") {
			t.Errorf("got %v", got)
		}
		c.fails("show-model", `{"model":"nothere"}`, "model_not_found")
		c.as(caller.Caller{ID: "x", Models: []string{"other:*"}}).fails("show-model", `{"model":"tiny"}`, "forbidden")
	})
}

func TestFileOfTheHostIsNotTold(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Install(
			backendtest.Model{Name: "unix", Parent: "/usr/share/ollama/.ollama/models/blobs/sha256-aa"},
			backendtest.Model{Name: "windows", Parent: `C:\Users\ada\.ollama\models\blobs\sha256-aa`},
			backendtest.Model{Name: "made", Parent: "someone/base:7b"}))
		for model, want := range map[string]any{"unix": nil, "windows": nil, "made": "someone/base:7b"} {
			if got := c.succeeds("show-model", `{"model":"`+model+`"}`).StructuredContent["parent_model"]; got != want {
				t.Errorf("the parent of %s is %v, want %v", model, got, want)
			}
		}
	})
}

func TestHostThatHangsHoldsUpWorkOnModelsOnce(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		a, b := backendtest.New("gpu-1"), backendtest.New("gpu-2")
		c.useAll(pool.Options{}, a, b)
		a.Break(backendtest.Hang)
		began := time.Now()
		c.succeeds("show-model", `{"model":"tiny"}`)
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("show-model took %v: the host that hangs was waited for twice", took)
		}
		if got := fmt.Sprint(c.succeeds("list-running", `{}`).StructuredContent["unreachable"]); got != "map[gpu-1:no answer within 10s]" {
			t.Errorf("list-running: unreachable is %s", got)
		}
		unloaded := fmt.Sprint(c.succeeds("unload-model", `{"model":"tiny"}`).StructuredContent["results"])
		if !strings.Contains(unloaded, "gpu-1: no answer within 10s") || strings.Contains(unloaded, "timeout_seconds") {
			t.Errorf("unload-model: %s", unloaded)
		}
		b.Break(backendtest.Hang)
		for _, tool := range []string{"list-running", "unload-model", "load-model"} {
			args := `{"model":"tiny"}`
			if tool == "list-running" {
				args = `{}`
			}
			text := c.fails(tool, args, "timeout", "no answer within 10s", "doctor").Content[0].Text
			if strings.Contains(text, "timeout_seconds") {
				t.Errorf("%s has no such argument: %s", tool, text)
			}
		}
	})
}

func TestMemoryIsAdvisedOnByWhatIsLoaded(t *testing.T) {
	loaded := func(host string, size, onGPU int64) manage.Running {
		return manage.Running{Host: host, RunningModel: backend.RunningModel{Size: size, SizeVRAM: onGPU, ContextLength: 32768}}
	}
	const weights, all = 4_900_000_000, 4_900_000_000 + 32768*131072
	got := tools.MemoryFor(&manage.Description{
		Listed: backend.Model{Size: weights},
		Info: &backend.ModelInfo{ModelInfo: map[string]any{ // of Llama 3.1 8B, with 128 KiB for each token
			"general.architecture": "llama", "llama.block_count": 32.0, "llama.attention.head_count": 32.0,
			"llama.attention.head_count_kv": 8.0, "llama.embedding_length": 4096.0,
		}},
		Loaded: []manage.Running{
			loaded("large", all, all), loaded("small", all, all-1_200_000_000), loaded("tiny", all, 1_000_000_000),
			loaded("exact", all, weights+1), loaded("none", all, 0),
			{Host: "silent", Err: context.DeadlineExceeded},
		},
	}, 65536)
	if want := map[string]int64{"4096": weights + 4096*131072, "8192": weights + 8192*131072, "32768": all, "65536": weights + 65536*131072}; !maps.Equal(got.Totals, want) {
		t.Errorf("the totals are %v, want %v", got.Totals, want)
	}
	const with = "With 32768 tokens of context it takes 9.2 GB and "
	for i, want := range []string{
		"fits into the GPU of large.",
		"does not fit into the GPU of small: 1.2 GB of it are left to the processor, which is slow; with a num_ctx of 23612 or less it would fit.",
		"does not fit into the GPU of tiny: 8.2 GB of it are left to the processor, which is slow.",
		"does not fit into the GPU of exact: 4.3 GB of it are left to the processor, which is slow.", // no context would be left
		"runs on the processor of none.",
	} {
		if i >= len(got.Advice) || got.Advice[i] != with+want {
			t.Errorf("the advice is %q, want %q in place %d", got.Advice, with+want, i)
		}
	}
	if len(got.Advice) != 5 {
		t.Errorf("the advice is %q", got.Advice)
	}
}
