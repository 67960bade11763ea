package app

import (
	"encoding/json"

	"ollama-mcp/internal/auth"
	"ollama-mcp/internal/config"
	"ollama-mcp/server"
)

// callers says who may call over HTTP.
type callers struct {
	auth.Authenticator
	needed bool // that callers prove who they are
}

func newCallers(c config.Config) (*callers, error) {
	who := &callers{needed: c.Keys != nil || c.OAuthIssuer != "" || c.TLSClientCA != ""}
	if c.Keys != nil {
		who.Keys = new(auth.Keys)
		who.Keys.Set(keys(c))
	}
	if c.OAuthIssuer != "" {
		var err error
		who.OAuth, err = auth.NewOAuth(auth.OAuthOptions{Issuer: c.OAuthIssuer, Audience: c.OAuthAudience, Resource: c.OAuthResource, Scopes: grants(c)})
		if err != nil {
			return nil, err
		}
	}
	// Where keys or tokens say what each caller may, nobody may more by leaving them out.
	who.Certificates = who.Keys == nil && who.OAuth == nil
	return who, nil
}

// admit makes an HTTP server ask its callers who they are.
func (who *callers) admit(o *server.HTTPOptions) error {
	if !who.needed {
		return nil
	}
	o.Authenticate, o.Challenge = who.Authenticate, who.Challenge
	if who.OAuth == nil {
		return nil
	}
	var err error
	o.Metadata, err = json.Marshal(who.OAuth.Metadata("ollama-mcp"))
	return err
}

// reload takes over who may call from a configuration that has changed.
func (who *callers) reload(c config.Config) error {
	if who.Keys != nil {
		who.Keys.Set(keys(c))
	}
	if who.OAuth != nil {
		return who.OAuth.SetScopes(grants(c))
	}
	return nil
}

func keys(c config.Config) []auth.Key {
	all := make([]auth.Key, len(c.Keys))
	for i, k := range c.Keys {
		all[i] = auth.Key(k)
	}
	return all
}

func grants(c config.Config) map[string]auth.Grant {
	if c.Scopes == nil {
		return nil
	}
	all := make(map[string]auth.Grant, len(c.Scopes))
	for scope, g := range c.Scopes {
		all[scope] = auth.Grant(g)
	}
	return all
}
