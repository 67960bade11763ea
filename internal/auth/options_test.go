package auth_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/auth"
)

func TestOptionsThatCannotWorkAreNamed(t *testing.T) {
	for _, c := range []struct {
		opts auth.OAuthOptions
		want string // the option named in the error; "" for none
	}{
		{auth.OAuthOptions{Issuer: issuerURL, Audience: audience}, ""},
		{auth.OAuthOptions{Issuer: issuerURL, Audience: "api://mcp", Resource: audience}, ""},
		{auth.OAuthOptions{Issuer: "http://localhost:8080", Audience: audience}, ""},
		{auth.OAuthOptions{Issuer: "http://[::1]:8080/realms/a", Audience: audience}, ""},
		{auth.OAuthOptions{Issuer: issuerURL}, "Audience"},
		{auth.OAuthOptions{Issuer: issuerURL, Audience: "api://mcp"}, "Resource"},
		{auth.OAuthOptions{Issuer: issuerURL, Audience: audience, Resource: "mcp.example.com/mcp"}, "Resource"},
		{auth.OAuthOptions{Issuer: issuerURL, Audience: audience + "#top"}, "Resource"},
		{auth.OAuthOptions{Audience: audience}, "Issuer"},
		{auth.OAuthOptions{Issuer: "login.example.com", Audience: audience}, "Issuer"},
		{auth.OAuthOptions{Issuer: "http://login.example.com", Audience: audience}, "Issuer"},
		{auth.OAuthOptions{Issuer: "http://127.0.0.1.example.com", Audience: audience}, "Issuer"},
		{auth.OAuthOptions{Issuer: "https://u:hunter2@login.example.com", Audience: audience}, "Issuer"},
		{auth.OAuthOptions{Issuer: "https://u:hunter2%zz@login.example.com", Audience: audience}, "Issuer"},
		{auth.OAuthOptions{Issuer: issuerURL + "?realm=a", Audience: audience}, "Issuer"},
		{auth.OAuthOptions{Issuer: issuerURL, Audience: audience, Scopes: map[string]auth.Grant{`a"b`: {}}}, "Scopes"},
	} {
		_, err := auth.NewOAuth(c.opts)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.opts, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), "option "+c.want)):
			t.Errorf("%+v: got %v, want an error that names %s", c.opts, err, c.want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the error repeats a password: %v", err)
		}
	}
}
