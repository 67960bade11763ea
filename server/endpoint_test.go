package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// foreign is an endpoint of another API, which answers with its caller and the body.
func foreign(serve func(http.ResponseWriter, *http.Request, []byte)) []server.Endpoint {
	if serve == nil {
		serve = func(w http.ResponseWriter, req *http.Request, body []byte) {
			fmt.Fprintf(w, "%s says %s", caller.FromContext(req.Context()).ID, body)
		}
	}
	failed := func(w http.ResponseWriter, status int, code, text string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "FAILED %s: %s", code, text)
	}
	return []server.Endpoint{
		{Method: "HEAD", Path: "/"},
		{Method: "GET", Path: "/other/api/of/{name}", Serve: func(w http.ResponseWriter, req *http.Request, _ []byte) { fmt.Fprint(w, "at "+req.URL.Path) }, Fail: failed},
		{Method: "POST", Path: "/other/api", Serve: serve, Expose: []string{"X-Other"}, Fail: failed},
	}
}

func TestEndpointOfAnotherAPIHasTheCallersAndTheLimitsOfMCP(t *testing.T) {
	keys := byKey(map[string]caller.Caller{"ann": {ID: "ann"}, "bob": {ID: "bob", Limits: caller.Limits{Body: 4}}, "gone": {ID: "gone", Valid: func() bool { return false }}})
	h := newHTTP(t, server.Options{}, server.HTTPOptions{Authenticate: keys, AllowedOrigins: []string{"https://pages.example"}, Endpoints: foreign(nil)})
	for _, row := range []struct {
		name, method, path, key, host, origin, body string
		status                                      int
		want                                        string // in the answer
	}{
		{name: "a caller", key: "ann", body: "hello", status: 200, want: "ann says hello"},
		{name: "a slash behind", path: "/other/api/", key: "ann", status: 200, want: "ann says "},
		{name: "no key", status: 401, want: "FAILED unauthorized: no key"},
		{name: "a key that is not known", key: "eve", status: 401, want: "FAILED invalid_token: "},
		{name: "a key that was revoked", key: "gone", status: 401, want: "FAILED invalid_token: "},
		{name: "a large body", key: "bob", body: "hello", status: 413, want: "FAILED message_too_large: "},
		{name: "another method", method: "GET", key: "ann", status: 405, want: "FAILED method_not_allowed: "},
		{name: "another host", host: "evil.example", key: "ann", status: 403, want: "FAILED host_not_allowed: "},
		{name: "a page of another site", origin: "https://evil.example", key: "ann", status: 403, want: "FAILED origin_not_allowed: "},
		{name: "a page that may", origin: "https://pages.example", key: "ann", body: "hello", status: 200, want: "ann says hello"},
		{name: "a path below", path: "/other/api/more", key: "ann", status: 404, want: "there is nothing here"},
		{name: "a path with a variable", method: "GET", path: "/other/api/of/some%20one/else/", key: "ann", status: 200, want: "at /other/api/of/some one/else/"},
		{name: "a variable without a value", method: "GET", path: "/other/api/of", key: "ann", status: 404, want: "there is nothing here"},
		{name: "a variable, no key", method: "GET", path: "/other/api/of/x", status: 401, want: "FAILED unauthorized: no key"},
		{name: "a variable, another method", path: "/other/api/of/x", key: "ann", status: 405, want: "FAILED method_not_allowed: "},
		{name: "two slashes", path: "//other/api", key: "ann", status: 307},
		{name: "two slashes before a path that is not there", path: "//evil.example/api", key: "ann", status: 404, want: "there is nothing here"},
		{name: "whether there is a server", method: "HEAD", path: "/", status: 200},
		{name: "the page of the server", method: "POST", path: "/", status: 405},
	} {
		t.Run(row.name, func(t *testing.T) {
			or := func(value, or string) string {
				if value == "" {
					return or
				}
				return value
			}
			req := httptest.NewRequest(or(row.method, "POST"), or(row.path, "/other/api"), strings.NewReader(row.body))
			req.Host = or(row.host, "localhost")
			if row.key != "" {
				req.Header.Set("Authorization", "Bearer "+row.key)
			}
			if row.origin != "" {
				req.Header.Set("Origin", row.origin)
			}
			a := record(h, req)
			if a.Code != row.status || !strings.Contains(a.Body.String(), row.want) {
				t.Errorf("got %d %s, want %d %s", a.Code, a.Body, row.status, row.want)
			}
			if at := a.Header().Get("Location"); (at != "") != (row.status == 307) || at != "" && at != "/other/api" {
				t.Errorf("it goes to %q", at)
			}
			if exposed := a.Header().Get("Access-Control-Expose-Headers"); row.origin == "https://pages.example" && !strings.Contains(exposed, "X-Other") {
				t.Errorf("pages may read %q", exposed)
			}
		})
	}
}

func TestRequestOfAnotherAPICountsAsOneInFlightAndEndsWithItsClientOrTheServer(t *testing.T) {
	var began chan struct{}
	var causes chan error
	opts := server.HTTPOptions{Endpoints: foreign(func(w http.ResponseWriter, req *http.Request, _ []byte) {
		began <- struct{}{}
		<-req.Context().Done()
		causes <- context.Cause(req.Context())
	})}
	inBubbleWith(t, server.Options{MaxInFlight: 1}, opts, func(t *testing.T, r *remote) {
		began, causes = make(chan struct{}), make(chan error) // in the bubble
		ctx, leave := context.WithCancel(t.Context())
		send := func(ctx context.Context) {
			if resp, err := r.do(ctx, "POST", "/other/api", "one", nil); err == nil {
				resp.Body.Close()
			}
		}
		go send(ctx)
		<-began
		resp, err := r.do(t.Context(), "POST", "/other/api", "two", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "FAILED too_many_in_flight") {
			t.Errorf("the second got %d %v %s", resp.StatusCode, resp.Header, text)
		}
		leave()
		if why := <-causes; why == nil {
			t.Error("the request goes on without its client")
		}
		go send(t.Context())
		<-began
		r.stop()
		if why := <-causes; why == nil || !strings.Contains(why.Error(), "stopping") {
			t.Errorf("when the server stopped it ended with %v", why)
		}
	})
}
