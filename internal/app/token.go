package app

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"ollama-mcp/internal/auth"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/durable"
	"ollama-mcp/internal/table"
)

// tokenOptions are those of the command token.
type tokenOptions struct{ appendTo string }

func (o *tokenOptions) flags(fs *config.FlagSet) {
	fs.StringVar(&o.appendTo, "append", "", "`file` of keys that token new adds the key to, which is created if it does not exist")
}

// tokens makes, lists and revokes the keys of callers.
func tokens(args []string, std Stdio) int {
	var o tokenOptions
	flags := config.NoFlags()
	o.flags(flags)
	if err := flags.Parse(args); errors.Is(err, config.ErrHelp) {
		helpFor(std.Out, "token")
		return ok
	} else if err != nil {
		return complain(std, err)
	}
	what := append(flags.Args(), "", "", "") // so that each of the three can be looked at
	switch n := flags.NArg(); {
	case what[0] == "new" && n == 2:
		return newToken(what[1], o.appendTo, std)
	case o.appendTo != "":
		return complain(std, errors.New("--append goes with token new NAME"))
	case what[0] == "list" && n == 2:
		return listTokens(what[1], std)
	case what[0] == "revoke" && n == 3:
		return revokeToken(what[1], what[2], std)
	}
	return complain(std, errors.New("usage: ollama-mcp token new NAME [--append FILE], token list FILE, or token revoke NAME FILE"))
}

// newToken makes a key. The key is printed once; only its hash is stored, which admits nobody.
func newToken(name, file string, std Stdio) int {
	if err := config.CheckKeyName(name); err != nil {
		return complain(std, err)
	}
	secret, hash := auth.NewKey()
	line := fmt.Sprintf("- {name: %q, sha256: %s}", name, hash)
	if file == "" {
		fmt.Fprintln(std.Out, secret)
		fmt.Fprintf(std.Err, "This is the key; it is not shown again. Add this line to the file of --token-file, or use --append:\n\n%s\n", line)
		return ok
	}
	if err := editKeys(file, func(text []byte) ([]byte, error) { return config.AddKey(text, line) }); err != nil {
		return fail(std, err)
	}
	fmt.Fprintln(std.Out, secret)
	fmt.Fprintf(std.Err, "This is the key; it is not shown again. Its line was added to %s.\n", file)
	return ok
}

// listTokens prints the keys of a file, and what they allow.
func listTokens(file string, std Stdio) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return fail(std, err)
	}
	keys, err := config.ParseKeys(text)
	if err != nil {
		return fail(std, fmt.Errorf("%s:%w", file, err))
	}
	if len(keys) == 0 {
		fmt.Fprintf(std.Err, "%s has no keys; `ollama-mcp token new NAME --append %s` adds one.\n", file, file)
		return ok
	}
	list := table.Table{Head: []string{"NAME", "ADMIN", "TOOLS", "MODELS", "CALLS/S", "IN FLIGHT", "CALLS/DAY", "TOKENS/DAY", "EXPIRES"}}
	for _, k := range keys {
		c := k.Caller
		admin := map[bool]string{true: "yes", false: "no"}[c.Admin]
		limit := func(n float64) string {
			if n == 0 {
				return "no limit"
			}
			return strconv.FormatFloat(n, 'f', -1, 64)
		}
		expires := "never"
		if !k.Expires.IsZero() {
			expires = k.Expires.UTC().Format(time.RFC3339)
		}
		list.Row(c.ID, admin, cmp.Or(strings.Join(c.Tools, ","), "all"), cmp.Or(strings.Join(c.Models, ","), "all"),
			limit(c.Limits.PerSecond), limit(float64(c.Limits.InFlight)),
			limit(float64(c.Limits.CallsPerDay)), limit(float64(c.Limits.TokensPerDay)), expires)
	}
	list.Print(std.Out, true)
	return ok
}

// revokeToken removes a key from a file.
func revokeToken(name, file string, std Stdio) int {
	if err := editKeys(file, func(text []byte) ([]byte, error) { return config.RemoveKey(text, name) }); err != nil {
		return fail(std, err)
	}
	fmt.Fprintf(std.Err, "%s was removed from %s; running servers refuse it within five seconds.\n", name, file)
	return ok
}

// editKeys changes a file of keys. One that does not exist is empty, and only its owner may
// read it afterwards.
func editKeys(file string, edit func([]byte) ([]byte, error)) error {
	text, perm := []byte(nil), fs.FileMode(0o600)
	info, err := os.Stat(file)
	if err == nil {
		perm = info.Mode().Perm()
		text, err = os.ReadFile(file)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	edited, err := edit(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return durable.WriteMode(file, edited, perm)
}
