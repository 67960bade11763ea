package auth_test

import (
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/auth"
)

func TestTokenIsTakenOnlyForItsIssuerAudienceAndTime(t *testing.T) {
	signs := newSigner(t, "EdDSA", "1")
	a := taking(t, newIssuer(signs), nil)
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, c := range map[string]struct {
		changed map[string]any
		want    string // in the error; "" if the token is taken
	}{
		"nothing changed":          {nil, ""},
		"audience in a list":       {map[string]any{"aud": []string{"other", audience}}, ""},
		"clock a little ahead":     {map[string]any{"nbf": in(10 * time.Second), "iat": in(10 * time.Second)}, ""},
		"clock a little behind":    {map[string]any{"exp": in(-10 * time.Second)}, ""},
		"fraction of a second":     {map[string]any{"exp": float64(in(time.Minute)) + 0.5}, ""},
		"clock 40 s ahead":         {map[string]any{"nbf": in(40 * time.Second), "iat": in(40 * time.Second)}, ""},
		"clock 40 s behind":        {map[string]any{"exp": in(-40 * time.Second)}, ""},
		"issuer with a slash":      {map[string]any{"iss": issuerURL + "/"}, ""},
		"audience with a slash":    {map[string]any{"aud": audience + "/"}, ""},
		"audience of SSE":          {map[string]any{"aud": "https://mcp.example.com/sse"}, ""},
		"other issuer":             {map[string]any{"iss": issuerURL + ".evil.example"}, "another issuer (claim iss); " + issuerURL},
		"issuer with a path":       {map[string]any{"iss": issuerURL + "/a"}, "another issuer (claim iss)"},
		"issuer with two slashes":  {map[string]any{"iss": issuerURL + "//"}, "another issuer (claim iss)"},
		"no issuer":                {map[string]any{"iss": nil}, "claim iss is missing"},
		"other audience":           {map[string]any{"aud": "https://mcp.example.com"}, "another audience (claim aud); " + audience},
		"audiences without ours":   {map[string]any{"aud": []string{"a", "b"}}, "another audience (claim aud)"},
		"no audience":              {map[string]any{"aud": nil}, "claim aud is missing"},
		"empty list of audiences":  {map[string]any{"aud": []string{}}, "claim aud is missing"},
		"audience that is no text": {map[string]any{"aud": []any{audience, 1}}, "cannot be read: aud"},
		"expired":                  {map[string]any{"exp": in(-61 * time.Second)}, "has expired (claim exp)"},
		"no expiry":                {map[string]any{"exp": nil}, "claim exp is missing"},
		"expiry as text":           {map[string]any{"exp": "tomorrow"}, "cannot be read: exp"},
		"expiry out of range":      {map[string]any{"exp": 1e300}, "cannot be read: exp"},
		"two that cannot be read":  {map[string]any{"sub": 7, "iat": "now"}, "cannot be read: sub, iat"},
		"not yet valid":            {map[string]any{"nbf": in(65 * time.Second)}, "not valid yet (claim nbf)"},
		"of the future":            {map[string]any{"iat": in(65 * time.Second)}, "in the future (claim iat)"},
		"no subject":               {map[string]any{"sub": nil}, "claim sub is missing"},
		"subject with a newline":   {map[string]any{"sub": "alice\nlevel=ERROR"}, "(claim sub)"},
		"subject that is too long": {map[string]any{"sub": strings.Repeat("a", 256)}, "(claim sub)"},
		"claim in another case":    {map[string]any{"sub": nil, "Sub": "alice"}, "claim sub is missing"},
	} {
		token := signs.sign(t, good(c.changed))
		got, err := a.Authenticate(with(t.Context(), token))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: got %v, want it taken", name, err)
		case c.want != "" && (code(t, err, token) != "invalid_token" || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want invalid_token and %q", name, err, c.want)
		}
		if want := "alice@login.example.com"; c.want == "" && (got.ID != want || got.Tenant != want) {
			t.Errorf("%s: got %q of tenant %q, want both to be %q", name, got.ID, got.Tenant, want)
		}
	}
}

func TestTokenMayWhatItsScopesAllow(t *testing.T) {
	signs := newSigner(t, "ES256", "1")
	grants := map[string]auth.Grant{
		"mcp:chat":   {Tools: []string{"chat"}, Models: []string{"llama3.2:*"}},
		"mcp:embed":  {Tools: []string{"embed"}, Models: []string{"nomic-embed-text:latest"}},
		"mcp:models": {Tools: []string{}},
		"mcp:none":   {Tools: []string{}, Models: []string{}},
		"mcp:admin":  {Admin: true},
	}
	all := []string{"chat llama3.2:1b", "embed nomic-embed-text:latest", "pull-model phi4:latest", "xchat nomic-embed-text:latest", "xembed llama3.2:1b"}
	for _, c := range []struct {
		scopes  map[string]auth.Grant
		changed map[string]any
		may     string // of all, by their first letters
		admin   bool
		want    string
	}{
		{nil, nil, "c e p x x", false, "ok"},
		{nil, map[string]any{"scope": "anything"}, "c e p x x", false, "ok"},
		{grants, map[string]any{"scope": "mcp:chat"}, "c", false, "ok"},
		{grants, map[string]any{"scope": "openid mcp:chat  mcp:embed"}, "c e", false, "ok"},
		{grants, map[string]any{"scp": "mcp:chat"}, "c", false, "ok"},
		{grants, map[string]any{"scp": []string{"mcp:chat", "mcp:embed"}}, "c e", false, "ok"},
		{grants, map[string]any{"scope": "openid", "scp": []string{"mcp:embed"}}, "e", false, "ok"},
		{grants, map[string]any{"scope": "mcp:none"}, "", false, "ok"},
		{grants, map[string]any{"scope": "mcp:none mcp:models"}, "", false, "ok"},
		{grants, map[string]any{"scope": "mcp:chat mcp:admin"}, "c e p x x", true, "ok"},
		{grants, nil, "", false, "insufficient_scope"},
		{grants, map[string]any{"scope": "openid"}, "", false, "insufficient_scope"},
		{grants, map[string]any{"scope": "MCP:CHAT mcp:cha"}, "", false, "insufficient_scope"},
		{grants, map[string]any{"scp": []string{"mcp:chat mcp:admin"}}, "", false, "insufficient_scope"},
		{map[string]auth.Grant{}, map[string]any{"scope": "mcp:chat"}, "", false, "insufficient_scope"},
		{grants, map[string]any{"scope": 1}, "", false, "invalid_token"},
	} {
		token := signs.sign(t, good(c.changed))
		got, err := taking(t, newIssuer(signs), c.scopes).Authenticate(with(t.Context(), token))
		if code(t, err, token) != c.want || got.Admin != c.admin {
			t.Errorf("%v: got %+v, %v, want %q", c.changed, got, err, c.want)
		}
		if c.want != "ok" {
			continue
		}
		var may []string
		for _, call := range all {
			if tool, model, _ := strings.Cut(strings.TrimPrefix(call, "x"), " "); got.MayCall(tool) && got.For(tool).MayUse(model) {
				may = append(may, call[:1])
			}
		}
		if strings.Join(may, " ") != c.may {
			t.Errorf("%v: may %q, want %q", c.changed, may, c.may)
		}
	}
}

func TestCallerExpiresWithItsToken(t *testing.T) {
	signs := newSigner(t, "ES256", "1")
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	got, err := taking(t, newIssuer(signs), nil).Authenticate(with(t.Context(), signs.sign(t, good(map[string]any{"exp": expires.Unix()}))))
	if err != nil || !got.Expires.Equal(expires.Add(time.Minute)) {
		t.Errorf("got %v, %v, want %v and a minute in which the token is still taken", got.Expires, err, expires)
	}
}

func TestCallerIsValidUntilNothingIsAllowedAnyMore(t *testing.T) {
	signs := newSigner(t, "ES256", "1")
	a := taking(t, newIssuer(signs), map[string]auth.Grant{"chat": {Tools: []string{"chat"}}})
	got, err := a.Authenticate(with(t.Context(), signs.sign(t, good(map[string]any{"scope": "openid chat"}))))
	if err != nil || got.IsRevoked() {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, change := range []struct {
		scopes  map[string]auth.Grant
		revoked bool
	}{{map[string]auth.Grant{"chat": {}}, false}, {map[string]auth.Grant{"embed": {}}, true}, {nil, false}} {
		if err := a.OAuth.SetScopes(change.scopes); err != nil {
			t.Fatal(err)
		}
		if got.IsRevoked() != change.revoked {
			t.Errorf("with %v the caller is revoked: %v", change.scopes, got.IsRevoked())
		}
	}
}

func TestScopesAreExchangedWhole(t *testing.T) {
	signs := newSigner(t, "ES256", "1")
	a := taking(t, newIssuer(signs), nil)
	token := signs.sign(t, good(map[string]any{"scope": "chat"}))
	if err := a.OAuth.SetScopes(map[string]auth.Grant{"chat": {Tools: []string{"chat"}}}); err != nil {
		t.Fatal(err)
	}
	if err := a.OAuth.SetScopes(map[string]auth.Grant{"chat": {}, "two words": {}}); err == nil {
		t.Error("a name with a space in it was taken for a scope")
	}
	if got, err := a.Authenticate(with(t.Context(), token)); err != nil || got.MayCall("embed") {
		t.Errorf("got %+v, %v, want the scopes that were set last without an error", got, err)
	}
}
