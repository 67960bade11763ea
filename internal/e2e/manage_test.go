package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// registry serves the models of an Ollama as Ollama's own registry does: a manifest by name and
// tag, and blobs by digest, in ranges, from an address of another name.
type registry struct {
	*httptest.Server
	models string // folder of the Ollama that has them

	spoiled atomic.Bool           // blobs have other bytes than their digest says
	slow    atomic.Pointer[stall] // of every blob, half way; nil for none
}

// stall is how a slow registry sends blobs: the first half, and nothing more until it goes on.
type stall struct {
	goesOn chan struct{}
	left   chan struct{} // gets a value, if it has room, when whoever downloads a blob has left
}

// halfway is a file that stalls half way.
type halfway struct {
	io.ReadSeeker // and no more of a file, which would be sent without being read
	at, half      int64
	wait          func()
}

func (h *halfway) Seek(offset int64, whence int) (at int64, err error) {
	h.at, err = h.ReadSeeker.Seek(offset, whence)
	return h.at, err
}

func (h *halfway) Read(p []byte) (n int, err error) {
	if h.at < h.half {
		p = p[:min(len(p), int(h.half-h.at))]
	} else {
		h.wait()
	}
	n, err = h.ReadSeeker.Read(p)
	h.at += int64(n)
	return n, err
}

func newRegistry(t *testing.T, of *ollamatest.Server) *registry {
	r := &registry{models: of.Models()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/library/{model}/manifests/{tag}", func(w http.ResponseWriter, req *http.Request) {
		http.ServeFile(w, req, filepath.Join(r.models, "manifests", "registry.ollama.ai", "library", req.PathValue("model"), req.PathValue("tag")))
	})
	mux.HandleFunc("GET /v2/library/{model}/blobs/{digest}", func(w http.ResponseWriter, req *http.Request) {
		elsewhere := strings.Replace(r.URL, "127.0.0.1", "localhost", 1) + "/blobs/" + req.PathValue("digest")
		http.Redirect(w, req, elsewhere, http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("GET /blobs/{digest}", r.blob)
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

func (r *registry) blob(w http.ResponseWriter, req *http.Request) {
	digest := req.PathValue("digest")
	path := filepath.Join(r.models, "blobs", strings.Replace(digest, ":", "-", 1))
	file, err := os.Open(path)
	if err != nil {
		http.NotFound(w, req)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream") // or its beginning is read to guess it
	slow := r.slow.Load()
	switch {
	case slow != nil:
		content := &halfway{ReadSeeker: file, half: info.Size() / 2, wait: func() {
			_ = http.NewResponseController(w).Flush()
			select {
			case <-slow.goesOn:
			case <-req.Context().Done():
				select {
				case slow.left <- struct{}{}:
				default:
				}
			}
		}}
		http.ServeContent(w, req, "", info.ModTime(), content)
		return
	case !r.spoiled.Load():
		http.ServeContent(w, req, "", info.ModTime(), file)
		return
	}
	http.ServeContent(w, req, "", info.ModTime(), strings.NewReader(strings.Repeat("x", int(info.Size()))))
}

// name is the name of a model in this registry, for a host that pulls it.
func (r *registry) name(model string) string {
	return strings.TrimPrefix(r.URL, "http://") + "/library/" + model + ":latest"
}

func TestModelIsPulledFromARegistryCopiedMadeAndDeleted(t *testing.T) {
	t.Parallel()
	from := newRegistry(t, shared)
	own := ollamatest.Start(t, ollamatest.Options{})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "broken.gguf"), []byte("GGUF\x03\x00\x00\x00 and then nothing that makes sense"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := connect(t, own, "OLLAMA_MCP_ALLOW_MANAGE=true", "OLLAMA_MCP_ALLOW_REGISTRY="+from.URL, "OLLAMA_MCP_ALLOW_DIR="+dir)

	name := from.name("tiny-says")
	from.spoiled.Store(true)
	s.fails("pull-model", fmt.Sprintf(`{"model":%q}`, name), "upstream", "other bytes")
	if got := s.listModels(`{}`); len(got) != 0 {
		t.Errorf("after a pull with wrong bytes there are %+v", got)
	}
	from.spoiled.Store(false)
	// Ollama keeps the small parts that it took for good, and says that all is well.
	s.fails("pull-model", fmt.Sprintf(`{"model":%q}`, name), "upstream", "earlier pull is damaged", "pull it again")
	if a := s.succeeds("pull-model", fmt.Sprintf(`{"model":%q}`, name)); !strings.Contains(a.text(), `"done":true`) {
		t.Errorf("got %+v", a)
	}
	// The fleet knows at once what each change has made.
	if got := s.succeeds("generate", fmt.Sprintf(`{"model":%q,"prompt":"hi"}`, name)); got.text() != tinymodels.Says.Answer {
		t.Errorf("the model that was pulled says %q", got.text())
	}
	pullSlowly(t, s, from)
	s.fails("pull-model", fmt.Sprintf(`{"model":%q}`, from.name("none")), "model_not_found", "no such model or tag")
	s.fails("pull-model", `{"model":"registry.example/library/tiny-says"}`, "forbidden", "--allow-registry")
	s.fails("pull-model", `{"model":"no such/../name"}`, "invalid_argument")

	s.succeeds("copy-model", fmt.Sprintf(`{"source":%q,"destination":"mine"}`, name))
	s.fails("copy-model", fmt.Sprintf(`{"source":%q,"destination":"mine"}`, name), "invalid_argument", "overwrite")
	s.succeeds("create-model", `{"model":"polite","from":"mine","system":"Be polite.","parameters":{"num_predict":2}}`)
	if got := s.succeeds("generate", `{"model":"polite","prompt":"hi"}`); !strings.HasPrefix(tinymodels.Says.Answer, got.text()) || got.text() == tinymodels.Says.Answer {
		t.Errorf("the model with a limit of two tokens says %q", got.text())
	}
	s.fails("create-model", `{"model":"other","from":"nowhere"}`, "model_not_found", "nowhere")
	s.fails("create-model", `{"model":"other","file":"broken.gguf"}`, "invalid_argument", "damaged")

	from.Close()
	s.fails("pull-model", fmt.Sprintf(`{"model":%q}`, from.name("tiny-json")), "upstream", "cannot reach the registry")

	s.fails("delete-model", `{"model":"mine"}`, "invalid_argument", "confirm: true")
	s.succeeds("delete-model", `{"model":"mine","confirm":true}`)
	s.fails("generate", `{"model":"mine","prompt":"hi"}`, "model_not_found")
	deleteAfterTheUserIsAsked(t, own)
}

// pullSlowly pulls from a registry that stalls half way: bytes are told, a pull that is cancelled ends
// at the registry too, and one that outlasts its wait is a job with its bytes, and ends well.
func pullSlowly(t *testing.T, s *session, from *registry) {
	t.Helper()
	slow := &stall{make(chan struct{}), make(chan struct{}, 1)}
	from.slow.Store(slow)
	model := fmt.Sprintf(`"model":%q`, from.name("tiny-loops"))
	p := s.start("pull-model", "{"+model+"}")
	note := p.until("downloading on ")
	for strings.Contains(note.Message, ", 0.0 kB of ") { // nothing need have been asked of the registry yet
		note = p.until("downloading on ")
	}
	if note.Progress <= 0 || !strings.Contains(note.Message, " kB of ") {
		t.Errorf("%+v does not tell of bytes", note)
	}
	p.cancel()
	<-slow.left

	var id string
	eventually(t, "half of it is there", func() bool {
		if id == "" {
			id, _ = s.start("pull-model", "{"+model+`,"wait_seconds":0}`).result().StructuredContent["job"].(string)
		}
		now := s.start("job", fmt.Sprintf(`{"id":%q,"wait_seconds":0}`, id)).result()
		if now.IsError { // Ollama may still be busy with the end of the one before
			id = ""
			return false
		}
		done, _ := now.StructuredContent["done"].(float64)
		of, _ := now.StructuredContent["of"].(float64)
		return now.StructuredContent["state"] == "running" && done > 0 && done < of
	})
	from.slow.Store(nil)
	close(slow.goesOn)
	if a := s.succeeds("job", fmt.Sprintf(`{"id":%q,"wait_seconds":600}`, id)); !strings.Contains(a.text(), `"done":true`) {
		t.Errorf("got %+v", a)
	}
	if got := s.succeeds("list-models", `{"query":"tiny-loops"}`); !strings.Contains(got.text(), "tiny-loops") {
		t.Errorf("after it there are %s", got.text())
	}
}

// deleteAfterTheUserIsAsked has clients delete a model whose users agree, or do not.
func deleteAfterTheUserIsAsked(t *testing.T, own *ollamatest.Server) {
	has := func(model string) bool {
		list, err := own.Client().List(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(list.Models, func(m api.ListModelResponse) bool { return m.Name == model+":latest" })
	}
	url := serve(t, command(deadline(t), own.URL(), "--listen", "127.0.0.1:0", "--allow-manage")).url()
	for i, program := range [][]string{
		{"typescript-v1.mjs", "stdio", program},
		{"typescript-v1.mjs", "http", url},
		{"typescript-v2.mjs", "stdio", program, "auto"},
		{"typescript-v2.mjs", "http", url, "auto"},
	} {
		model := fmt.Sprint("doomed-", i)
		env := []string{"OLLAMA_HOST=" + own.URL(), "OLLAMA_MCP_ALLOW_MANAGE=true"}
		agrees := driveIn(t, append(env, "AGREES=yes"), program[0], program[1:]...)
		declines := driveIn(t, append(env, "AGREES=no"), program[0], program[1:]...)
		if a := agrees.start("copy-model", fmt.Sprintf(`{"source":"polite","destination":%q}`, model)).result(); a.IsError {
			t.Fatalf("%v: %+v", program, a)
		}
		args := fmt.Sprintf(`{"model":%q}`, model)
		wantError(t, declines.start("delete-model", args).result(), "cancelled", "the user has not agreed")
		if !has(model) {
			t.Errorf("%v: it was deleted although the user declined", program)
		}
		if a := agrees.start("delete-model", args).result(); a.IsError || has(model) {
			t.Errorf("%v: with the user's consent got %+v", program, a)
		}
	}
}
