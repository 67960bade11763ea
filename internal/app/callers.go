package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"ollama-mcp/internal/auth"
	"ollama-mcp/internal/config"
	"ollama-mcp/server"
)

// callers knows who may call over HTTP, and what each of them may do.
type callers struct {
	auth.Authenticator
	needed   bool                                  // callers have to prove who they are
	keyFiles map[string][]config.Key               // the keys in force, by the file that lists them
	inForce  atomic.Pointer[map[string]config.Key] // the same by name; nil for none
}

func newCallers(c config.Config) (*callers, error) {
	who := &callers{needed: authenticates(c)}
	if c.OAuthIssuer != "" {
		var err error
		who.OAuth, err = auth.NewOAuth(auth.OAuthOptions{Issuer: c.OAuthIssuer, Audience: c.OAuthAudience, Resource: c.OAuthResource, Scopes: grants(c)})
		if err != nil {
			return nil, err
		}
	}
	if c.Keys != nil {
		who.Keys = new(auth.Keys)
		if err := who.setKeys(c.KeyFiles); err != nil {
			return nil, err
		}
	}
	// If keys or OAuth are configured, a client certificate alone is not enough: it would
	// bypass the permissions of the keys and scopes.
	who.Certificates = who.Keys == nil && who.OAuth == nil
	return who, nil
}

// authenticates reports whether callers over HTTP have to prove who they are.
func authenticates(c config.Config) bool {
	return c.Keys != nil || c.OAuthIssuer != "" || c.TLSClientCA != ""
}

// configure has an HTTP server authenticate its callers, if they have to prove who they are.
func (who *callers) configure(o *server.HTTPOptions) {
	if !who.needed {
		return
	}
	o.Authenticate, o.Challenge = who.Authenticate, who.Challenge
	if who.OAuth == nil {
		return
	}
	o.Metadata = func(path string) []byte {
		document, ok := who.OAuth.Metadata(path, "ollama-mcp")
		if !ok {
			return nil
		}
		text, _ := json.Marshal(document) // cannot fail: it is text
		return text
	}
}

// setKeys puts keys in force, and revokes all others. It leaves out keys whose names could be
// those of callers with tokens, and returns an error that names the first of them.
func (who *callers) setKeys(files map[string][]config.Key) (err error) {
	if who.Keys == nil {
		return nil // whether callers need a key is decided at the start
	}
	var all []auth.Key
	for _, file := range slices.Sorted(maps.Keys(files)) {
		for _, k := range files[file] {
			if who.OAuth != nil && who.OAuth.IsCaller(k.Caller.ID) {
				err = cmp.Or(err, fmt.Errorf("%s: the key %q has the name of a subject of oauth-issuer: give it another name", file, k.Caller.ID))
				continue
			}
			all = append(all, auth.Key(k))
		}
	}
	who.Keys.Set(all)
	who.keyFiles = files
	who.noteKeys()
	return err
}

// reloadKeys puts the keys of a configuration in force that has changed. If the
// configuration was refused, the keys of files that could not be read stay as they were.
func (who *callers) reloadKeys(c config.Config, refused bool) error {
	files := make(map[string][]config.Key)
	if refused {
		maps.Copy(files, who.keyFiles)
	}
	maps.Copy(files, c.KeyFiles)
	return who.setKeys(files)
}

// reloadScopes takes over what OAuth tokens allow.
func (who *callers) reloadScopes(c config.Config) error {
	if who.OAuth == nil || !c.ScopesRead {
		return nil
	}
	return who.OAuth.SetScopes(grants(c))
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
