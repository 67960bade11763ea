package config

import (
	"cmp"
	_ "embed" // for the example
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

//go:embed example.yaml
var example string

// Page returns the documentation of all options in Markdown.
func Page() string {
	var b strings.Builder
	b.WriteString(pageHead)
	Flags(new(Config)).VisitAll(func(f *pflag.Flag) {
		kind, usage := pflag.UnquoteUsage(f)
		def := f.DefValue
		if _, isList := f.Value.(pflag.SliceValue); isList {
			def = def[1 : len(def)-1] // is in brackets
		}
		if def = "`" + def + "`"; def == "``" {
			def = "none"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s | %s |\n", f.Name, Variable(f.Name), cmp.Or(kind, f.Value.Type()), def, strings.ReplaceAll(usage, "\n", "<br>"))
	})
	b.WriteString(pageTail)
	fmt.Fprintf(&b, "```yaml\n%s```\n", example)
	return b.String()
}

const pageHead = `# Options

Generated from the declarations in the program; run ` + "`make docs`" + ` after a change.

A flag overrides the environment variable, the variable overrides the key of the same name in the file, and the key overrides the default.

| flag | environment | value | default | what it does |
|---|---|---|---|---|
`

const pageTail = `
Two of Ollama's own variables are honoured:

- ` + "`OLLAMA_HOST`" + `: the address of the server, if neither ` + "`--host`, `OLLAMA_MCP_HOST`" + ` nor the file gives one.
- ` + "`OLLAMA_API_KEY`" + `: sent as a bearer token to the hosts of ` + "`--host`, `OLLAMA_MCP_HOST`, `OLLAMA_HOST`" + ` or the default, and to no
  others. There is no flag for it, since other users of a machine can read the flags of a program.

For the same reason ` + "`--redis`" + ` takes no password: it is in ` + "`REDIS_PASSWORD`" + `, or in the file that ` + "`--redis-password-file`" + ` names.

## The file

` + "`--config FILE`" + ` names a YAML file. No file is read by default.

- The file holds no secrets: keys for hosts and providers come from environment variables and files that it names, and keys of callers are in it
  as SHA-256 sums.
- File names in it are relative to its own folder.
- Hosts given by ` + "`--host` or `OLLAMA_MCP_HOST`" + ` replace all hosts of the file.
- A name with a slash in ` + "`try`, `same_as` and `fallback`" + ` is a provider's model. In ` + "`try` and `fallback`" + `, an Ollama model with a slash in its name
  needs its tag: ` + "`someone/model:latest`" + `.
- Unknown keys, keys without a value and invalid values are refused, and the error names the line.
- A changed file is read again within five seconds, or at once on SIGHUP. Hosts, models, providers, keys, scopes,
  ` + "`output-filter`, `guard` and `log-level`" + ` then change while calls go on; the log names other changes, which need a restart.
- Each of these parts is applied by itself: hosts that cannot be opened do not keep the rest from being applied. A file with a mistake in it is
  refused and changes nothing, except for keys and scopes: a key that is removed from its file is revoked whatever is wrong elsewhere.

`
