package auth_test

import (
	"encoding/json"
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
		if got := c.a.Challenge(&c.denied); got != c.want {
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
		if got := a.Challenge(&caller.Denied{}); got != want {
			t.Errorf("%s:\n got %s\nwant %s", resource, got, want)
		}
	}
}

func TestMetadataNamesIssuerAndScopes(t *testing.T) {
	a := taking(t, newIssuer(), map[string]auth.Grant{"mcp:b": {}, "mcp:a": {}})
	got, err := json.Marshal(a.OAuth.Metadata("Ollama of the team"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"resource":"https://mcp.example.com/mcp","authorization_servers":["https://login.example.com"],` +
		`"scopes_supported":["mcp:a","mcp:b"],"bearer_methods_supported":["header"],"resource_name":"Ollama of the team"}`
	if string(got) != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
