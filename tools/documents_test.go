package tools

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"ollama-mcp/internal/caller"
)

// some returns data of a document, and a pointer that tells whether its memory is in use.
func some(size int) ([]byte, weak.Pointer[byte]) {
	doc := make([]byte, size)
	return doc, weak.Make(&doc[0])
}

// isFree reports whether the memory of a document has been freed.
func isFree(doc weak.Pointer[byte]) bool {
	for range 5 {
		runtime.GC()
		if doc.Value() == nil {
			return true
		}
	}
	return false
}

func mustKeep(t *testing.T, v *Documents, who caller.Caller, doc []byte) (uri string) {
	t.Helper()
	d := &document{kind: vectorsKind, data: doc}
	if !v.keep(t.Context(), who, d) {
		t.Fatal("a document is too large to keep")
	}
	return d.uri
}

func TestExpiredVectorsAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := new(Documents)
		var docs []weak.Pointer[byte]
		for range 4 {
			doc, memory := some(1 << 20)
			mustKeep(t, v, caller.Caller{ID: "a"}, doc)
			docs = append(docs, memory)
		}
		time.Sleep(documentTTL - time.Second)
		late, used := some(1 << 20)
		uri := mustKeep(t, v, caller.Caller{ID: "a"}, late)
		late = nil
		time.Sleep(time.Second)
		synctest.Wait()
		if v.bytes != 1<<20 || len(v.kept) != 1 {
			t.Errorf("%d documents of %d bytes are kept, want the last one", len(v.kept), v.bytes)
		}
		for i, doc := range docs {
			if !isFree(doc) {
				t.Errorf("document %d has expired, and its memory is in use", i)
			}
		}
		if _, ok := v.read(t.Context(), "", uri); !ok || isFree(used) {
			t.Error("the last document is gone, though its time is not over")
		}
		time.Sleep(documentTTL)
		synctest.Wait()
		if v.bytes != 0 || len(v.kept) != 0 || !isFree(used) {
			t.Errorf("in the end %d documents of %d bytes are kept", len(v.kept), v.bytes)
		}
	})
}

func TestVectorsPushedOutAreFreedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = 1 << 20
		v := &Documents{Max: documentPart * each}
		doc, memory := some(each)
		mustKeep(t, v, caller.Caller{}, doc)
		doc = nil
		timer := weak.Make(v.kept[0].expiry)
		for range documentPart - 1 {
			mustKeep(t, v, caller.Caller{}, make([]byte, each))
		}
		mustKeep(t, v, caller.Caller{}, []byte("next"))
		if !isFree(memory) {
			t.Error("the memory of a document that was pushed out is in use")
		}
		if still := timer.Value(); still != nil && still.Stop() {
			t.Error("the timer of a document that was pushed out still runs")
		}
		time.Sleep(2 * documentTTL)
		synctest.Wait()
		if v.bytes != 0 || len(v.kept) != 0 {
			t.Errorf("in the end %d documents of %d bytes are kept", len(v.kept), v.bytes)
		}
	})
}

func TestVectorsAreBoundedInNumberAndBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := new(Documents)
		for range maxDocuments + 10 {
			mustKeep(t, v, caller.Caller{}, []byte("x"))
		}
		if len(v.kept) != maxDocuments || v.bytes != maxDocuments {
			t.Errorf("%d documents of %d bytes are kept, want %d", len(v.kept), v.bytes, maxDocuments)
		}
		large := make([]byte, maxDocumentBytes/4)
		for range 6 {
			mustKeep(t, v, caller.Caller{}, large)
		}
		if v.bytes > maxDocumentBytes || len(v.kept) != 4 {
			t.Errorf("%d documents of %d bytes are kept, want at most %d", len(v.kept), v.bytes, maxDocumentBytes)
		}
		if v.keep(t.Context(), caller.Caller{}, &document{data: make([]byte, maxDocumentBytes/documentPart+1)}) || len(v.kept) != 4 {
			t.Errorf("a document that fits nowhere is kept, or pushes out others: %d are kept", len(v.kept))
		}
	})
}

func TestNoCallerPushesOutTheVectorsOfAnother(t *testing.T) {
	for name, flood := range map[string]struct{ size, count int }{
		"by bytes":        {maxDocumentBytes / 8, 50},
		"by number":       {1, maxDocuments + 100},
		"by empty number": {0, maxDocuments + 100}, // though it has fewer bytes than others
	} {
		synctest.Test(t, func(t *testing.T) {
			v := new(Documents)
			modest := caller.Caller{ID: "modest", Tenant: "modest"}
			var mine []string
			for i := range 3 {
				mine = append(mine, mustKeep(t, v, modest, fmt.Append(nil, "document ", i)))
			}
			doc := make([]byte, flood.size)
			var last string
			for range flood.count {
				last = mustKeep(t, v, caller.Caller{ID: "greedy", Tenant: "greedy"}, doc)
			}
			for i, uri := range mine {
				if got, ok := v.read(t.Context(), "modest", uri); !ok || string(got) != fmt.Sprint("document ", i) {
					t.Errorf("%s: document %d of the modest caller was pushed out", name, i)
				}
			}
			if _, ok := v.read(t.Context(), "greedy", last); !ok {
				t.Errorf("%s: the newest document of the greedy caller was pushed out", name)
			}
		})
	}
}

// Ages go by the wall clock: a client has a time, and not a duration, to go by.
func TestVectorsAreUnknownOnceTheTimeThatWasToldIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := new(Documents)
		doc := &document{kind: vectorsKind, data: []byte("x")}
		if !v.keep(t.Context(), caller.Caller{}, doc) {
			t.Fatal("it is too large to keep")
		}
		uri, expires := doc.uri, doc.expires
		time.Sleep(time.Until(expires) - time.Nanosecond)
		if _, ok := v.read(t.Context(), "", uri); !ok {
			t.Error("it is gone before its time")
		}
		time.Sleep(2 * time.Nanosecond)
		if _, ok := v.read(t.Context(), "", uri); ok {
			t.Error("it is there after its time")
		}
	})
}

// elsewhere are documents that several processes share, by tenant and address.
type elsewhere map[[2]string][]byte

func (e elsewhere) PutDocument(_ context.Context, tenant, uri string, data []byte, ttl time.Duration) {
	if ttl == documentTTL {
		e[[2]string{tenant, uri}] = data
	}
}

func (e elsewhere) Document(_ context.Context, tenant, uri string) ([]byte, bool) {
	data, ok := e[[2]string{tenant, uri}]
	return data, ok
}

func TestDocumentsOfOnePageAreFoundByOtherProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := make(elsewhere)
		one, other := &Documents{Shared: shared}, &Documents{Shared: shared}
		uri := mustKeep(t, one, caller.Caller{ID: "a", Tenant: "a"}, []byte("vectors"))
		if got, ok := other.read(t.Context(), "a", uri); !ok || string(got) != "vectors" {
			t.Errorf("read %q, %v", got, ok)
		}
		if got, ok := other.read(t.Context(), "b", uri); ok {
			t.Errorf("another tenant has read %q", got)
		}
		paged := &document{kind: resultsKind, data: []byte("12"), ends: []int{1, 2}}
		if !one.keep(t.Context(), caller.Caller{ID: "a", Tenant: "a"}, paged) || len(shared) != 1 {
			t.Errorf("%d documents are shared, want the one of one page", len(shared))
		}
		time.Sleep(documentTTL)
	})
}
