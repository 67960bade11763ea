package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"ollama-mcp/internal/backend"
)

// reader reads the files that a configuration names into c.
type reader struct {
	c      *Config
	fs     *FlagSet
	getenv func(string) string
	// lastTokenFile is read if the configuration file is refused before it names one; ""
	// for none.
	lastTokenFile string
	// lastClientCA is likewise watched.
	lastClientCA string

	hosts    []Host            // of the file
	ladders  map[string]ladder // of the aliases, by canonical name
	sameAs   map[string]ladder // of models, by canonical name
	fallback ladder
}

// read reads all files, and checks what depends on several of them. It reads the keys of
// callers even if the rest is refused.
func (r *reader) read() error {
	r.c.Files = make(map[string][32]byte)
	r.c.Models = make(map[string]Model)
	r.c.Providers = make(map[string]Provider)
	r.c.KeyFiles = make(map[string][]Key)
	r.ladders, r.sameAs = make(map[string]ladder), make(map[string]ladder)
	err := r.configFile()
	if err != nil && r.c.TokenFile == "" {
		r.c.TokenFile = r.lastTokenFile
	}
	if bad := r.readTokenFile(); err == nil {
		err = bad
	}
	if authorities := cmp.Or(r.c.TLSClientCA, r.lastClientCA); authorities != "" {
		_, _ = r.contents(authorities) // so that it is watched; the server reports what is wrong with it
	}
	if r.c.SessionKeyFile != "" {
		r.warnIfReadable(r.c.SessionKeyFile)
	}
	for i := range r.c.Keys {
		models := &r.c.Keys[i].Caller.Models
		*models = r.canonical(*models, err != nil)
	}
	for scope, grant := range r.c.Scopes {
		grant.Models = r.canonical(grant.Models, err != nil)
		r.c.Scopes[scope] = grant
	}
	if err != nil {
		return err
	}
	return r.settleHosts()
}

func (r *reader) configFile() error {
	if r.c.File != "" {
		if err := r.document("config", r.c.File, r.file); err != nil {
			return err
		}
		r.c.KeyFiles[r.c.File] = slices.Clip(r.c.Keys)
	}
	r.c.ScopesRead = true
	return nil
}

func (r *reader) readTokenFile() error {
	if r.c.TokenFile == "" {
		return nil
	}
	r.needKeys() // even if the file is empty
	others := len(r.c.Keys)
	if err := r.document("token-file", r.c.TokenFile, list(r.key)); err != nil {
		return err
	}
	r.c.KeyFiles[r.c.TokenFile] = r.c.Keys[others:]
	r.warnIfWritable(r.c.TokenFile)
	return nil
}

// document reads the YAML file that an option names.
func (r *reader) document(option, name string, root value) error {
	data, err := r.contents(name)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", from(r.fs.Lookup(option)), name, err)
	}
	if err := document(data, root); err != nil {
		return fmt.Errorf("%s:%w", name, err)
	}
	return nil
}

// file is the configuration file. Who may call is read first, since a mistake elsewhere in
// the file must not keep a key valid that has been taken out of it.
func (r *reader) file(n *yaml.Node) error {
	keysErr, scopesErr := only("keys", r.keys)(n), only("oauth-scopes", r.scopes)(n)
	if keysErr == nil {
		r.c.KeyFiles[r.c.File] = slices.Clip(r.c.Keys)
	}
	r.c.ScopesRead = scopesErr == nil
	known := r.sections()
	Flags(new(Config)).VisitAll(func(sample *pflag.Flag) {
		known[sample.Name] = func(n *yaml.Node) error { return r.option(sample, n) }
	})
	delete(known, "config") // a file cannot name another
	known["keys"] = func(*yaml.Node) error { return keysErr }
	known["oauth-scopes"] = func(*yaml.Node) error { return scopesErr }
	known["output-filter"] = r.rules
	known["host"] = oneOrList(scalar(func(s string) error { return r.addHost(Host{URL: s}) }))
	if err := known.read(n); err != nil {
		return err
	}
	return r.settleLadders()
}

// option sets an option that neither a flag nor the environment has set. sample is the same
// option in an unused flag set: a value that is overridden is set there, so that a mistake in
// it is found now, and not on the day on which it is no longer overridden.
func (r *reader) option(sample *pflag.Flag, n *yaml.Node) error {
	f := r.fs.Lookup(sample.Name)
	if f.Changed {
		f = sample
	}
	set(f, fmt.Sprintf("%s:%d: %s", r.c.File, n.Line, f.Name))
	if list, isList := f.Value.(pflag.SliceValue); isList {
		var items []string
		if err := texts(&items)(n); err != nil {
			return err
		}
		return list.Replace(items)
	}
	kind, _ := pflag.UnquoteUsage(f)
	return scalar(func(s string) error {
		if kind == "file" {
			s = r.beside(s)
		}
		if err := f.Value.Set(s); err != nil {
			return invalid(f, s, err)
		}
		return nil
	})(n)
}

// needKeys makes keys mandatory for callers, even if there are no keys yet.
func (r *reader) needKeys() {
	if r.c.Keys == nil {
		r.c.Keys = []Key{}
	}
}

// addKey adds a key. Its name and sum must be unique in both files.
func (r *reader) addKey(k Key) error {
	switch {
	case k.Caller.ID == "":
		return errors.New("has no name")
	case checkCallerID(k.Caller.ID) != nil:
		return checkCallerID(k.Caller.ID)
	case k.SHA256 == [32]byte{}:
		return errors.New("has no sha256")
	}
	for _, other := range r.c.Keys {
		if other.Caller.ID == k.Caller.ID || other.SHA256 == k.SHA256 {
			return errors.New("another key has that name or sha256 already")
		}
	}
	if !k.Expires.IsZero() && !time.Now().Before(k.Expires) {
		r.c.Warnings = append(r.c.Warnings, fmt.Sprintf("the key %s expired at %s", k.Caller.ID, k.Expires.UTC().Format(time.RFC3339)))
	}
	r.c.Keys = append(r.c.Keys, k)
	return nil
}

// checkCallerID returns an error if a name cannot be that of a key, which stands for the caller in
// logs: it must not be able to look like another name or like something else. New keys have to keep
// to CheckKeyName, which allows less.
func checkCallerID(name string) error {
	unprintable := func(c rune) bool { return !unicode.IsPrint(c) }
	if len(name) > 255 || !utf8.ValidString(name) || strings.TrimSpace(name) != name || strings.ContainsFunc(name, unprintable) {
		return fmt.Errorf("the name %.60q must be at most 255 bytes of characters that can be printed, without blanks around them", name)
	}
	return nil
}

// canonical replaces the names of models that a caller may use by their canonical form. In a
// refused file it may be unknown which names belong to providers; then a name with a slash is
// kept in both forms.
func (r *reader) canonical(models []string, refused bool) []string {
	for i, name := range models {
		provider, _, slash := strings.Cut(name, "/")
		_, cloud := r.c.Providers[provider]
		switch {
		case cloud:
		case strings.HasSuffix(name, "*"):
			models[i] = strings.ToLower(name) // as canonical names are
		default:
			models[i] = backend.CanonicalModel(name)
			if slash && refused {
				models = append(models, name)
			}
		}
	}
	return models
}
