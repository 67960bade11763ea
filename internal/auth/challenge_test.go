package auth_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"ollama-mcp/internal/auth"
	"ollama-mcp/internal/caller"
)

func TestChallengeSaysWhatIsWrongAndWhereTokensAre(t *testing.T) {
	var byKey auth.Authenticator
	byToken := taking(t, newIssuer(), nil)
	const where = `resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`
	for _, c := range []struct {
		a      *auth.Authenticator
		denied caller.Denied
		want   string
	}{
		{&byKey, caller.Denied{Message: "credentials are needed"}, "Bearer"},
		{byToken, caller.Denied{Message: "credentials are needed"}, "Bearer " + where},
		{
			&byKey,
			caller.Denied{Code: "invalid_token", Message: "the key is not known"},
			`Bearer error="invalid_token", error_description="the key is not known"`,
		},
		{
			byToken,
			caller.Denied{Code: "insufficient_scope", Message: "no", Scope: "mcp:a mcp:b"},
			`Bearer error="insufficient_scope", error_description="no", scope="mcp:a mcp:b", ` + where,
		},
		{
			&byKey,
			caller.Denied{Code: "invalid_token", Message: "a \"quote\", a \\, an é\r\nSet-Cookie: x"},
			`Bearer error="invalid_token", error_description="a ?quote?, a ?, an ???Set-Cookie: x"`,
		},
	} {
		if got := c.a.Challenge(at("/mcp"), &c.denied); got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.denied, got, c.want)
		}
	}
}

func TestMetadataOfAResourceWithoutAPathIsAtTheRoot(t *testing.T) {
	for _, resource := range []string{"https://mcp.example.com", "https://mcp.example.com/"} {
		o, err := auth.NewOAuth(auth.OAuthOptions{Issuer: issuerURL, Audience: "api://mcp", Resource: resource})
		if err != nil {
			t.Fatal(err)
		}
		a := auth.Authenticator{OAuth: o}
		want := `Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource"`
		if got := a.Challenge(at("/mcp"), &caller.Denied{}); got != want {
			t.Errorf("%s:\n got %s\nwant %s", resource, got, want)
		}
	}
}

func at(path string) *http.Request { return httptest.NewRequest("POST", "http://localhost"+path, nil) }

func TestMetadataIsWhereTheChallengeSaysAndNamesTheURLInUse(t *testing.T) {
	for _, tt := range []struct {
		resource, path string // as the operator names it, and of the request
		known          string // the URL that the client uses
	}{
		{"https://example.com/mcp", "/mcp", "https://example.com/mcp"},
		{"https://example.com/mcp", "/mcp/", "https://example.com/mcp"},
		{"https://example.com/mcp", "/sse", "https://example.com/sse"},
		{"https://example.com/mcp", "/sse/", "https://example.com/sse"},
		{"https://example.com/mcp", "/message", "https://example.com/sse"},
		{"https://example.com/ollama/mcp", "/mcp", "https://example.com/ollama/mcp"},
		{"https://example.com/ollama/mcp", "/sse", "https://example.com/ollama/sse"},
		{"https://example.com/ollama/mcp/", "/sse", "https://example.com/ollama/sse"},
		{"https://example.com/ollama/sse", "/sse", "https://example.com/ollama/sse"},
		{"https://example.com/ollama/sse", "/mcp", "https://example.com/ollama/mcp"},
		{"https://example.com/ollama", "/mcp", "https://example.com/ollama"},
		{"https://example.com/ollama", "/sse", "https://example.com/ollama"},
		{"https://example.com:8443", "/sse", "https://example.com:8443"},
		{"https://example.com/a/b/c/mcp", "/mcp", "https://example.com/a/b/c/mcp"},
	} {
		o, err := auth.NewOAuth(auth.OAuthOptions{Issuer: issuerURL, Audience: "api://mcp", Resource: tt.resource})
		if err != nil {
			t.Fatal(err)
		}
		a := auth.Authenticator{OAuth: o}
		_, where, _ := strings.Cut(a.Challenge(at(tt.path), &caller.Denied{}), `resource_metadata="`)
		u, err := url.Parse(strings.TrimSuffix(where, `"`))
		if err != nil || !strings.HasPrefix(tt.known, u.Scheme+"://"+u.Host) {
			t.Errorf("%+v: the challenge names %s, %v", tt, where, err)
			continue
		}
		document, ok := o.Metadata(u.Path, "")
		if !ok || document.Resource != tt.known {
			t.Errorf("%+v: at %s is %+v, %v", tt, u.Path, document, ok)
		}
		// A proxy may have taken the path before the endpoint away, and old clients look at the root.
		for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource/sse"} {
			if _, ok := o.Metadata(path, ""); !ok {
				t.Errorf("%s: nothing at %s", tt.resource, path)
			}
		}
		if _, ok := o.Metadata("/.well-known/oauth-protected-resource/other", ""); ok {
			t.Errorf("%s: there is a document for another resource", tt.resource)
		}
	}
}

func TestIssuerIsNamedAsItSpellsItself(t *testing.T) {
	for given, spelled := range map[string]string{
		issuerURL: issuerURL + "/", issuerURL + "/": issuerURL, issuerURL + "/realms/a": issuerURL + "/realms/a/", issuerURL + "/realms/a/": issuerURL + "/realms/a",
	} {
		signs := newSigner(t, "ES256", "1")
		i := newIssuer(signs)
		u, err := url.Parse(given)
		if err != nil {
			t.Fatal(err)
		}
		i.url, i.metadata = spelled, "/.well-known/oauth-authorization-server"+strings.TrimSuffix(u.Path, "/")
		i.keysURL = issuerURL + "/keys"
		o, err := auth.NewOAuth(auth.OAuthOptions{Issuer: given, Audience: audience, Transport: i})
		if err != nil {
			t.Fatal(err)
		}
		a := auth.Authenticator{OAuth: o}
		token := signs.sign(t, good(map[string]any{"iss": spelled}))
		if got, err := a.Authenticate(with(t.Context(), token)); err != nil || !strings.HasPrefix(got.ID, "alice@login.example.com") {
			t.Errorf("given as %s, spelled %s: got %+v, %v", given, spelled, got, err)
		}
		if got, _ := o.Metadata("/.well-known/oauth-protected-resource", ""); got.AuthorizationServers[0] != spelled {
			t.Errorf("given as %s, spelled %s: clients are told %s", given, spelled, got.AuthorizationServers[0])
		}
	}
}

func TestMetadataNamesIssuerAndScopes(t *testing.T) {
	a := taking(t, newIssuer(), map[string]auth.Grant{"mcp:b": {}, "mcp:a": {}})
	document, _ := a.OAuth.Metadata("/.well-known/oauth-protected-resource/mcp", "Ollama of the team")
	got, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"resource":"https://mcp.example.com/mcp","authorization_servers":["https://login.example.com"],` +
		`"scopes_supported":["mcp:a","mcp:b"],"bearer_methods_supported":["header"],"resource_name":"Ollama of the team"}`
	if string(got) != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
