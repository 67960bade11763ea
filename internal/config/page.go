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

// Page is the documentation of all options in Markdown.
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

Printed from the program's own declarations; ` + "`make docs`" + ` renews it.

A flag beats the environment variable, that beats the key of the same name in the file, and that beats the default.

| flag | environment | value | default | what it does |
|---|---|---|---|---|
`

const pageTail = `
Two variables of Ollama's own are honoured:

- ` + "`OLLAMA_HOST`" + `: the address of the server, where neither ` + "`--host`, `OLLAMA_MCP_HOST`" + ` nor the file gives one.
- ` + "`OLLAMA_API_KEY`" + `: sent as a bearer token to the hosts of ` + "`--host`, `OLLAMA_MCP_HOST`, `OLLAMA_HOST`" + ` or the default, and to nobody
  else. There is no flag for it, since other users of a machine can read a program's flags.

## The file

` + "`--config FILE`" + ` names a file in YAML. No file is read unasked.

- It holds no secrets: keys come from environment variables and files that it names, and those of callers are in it as SHA-256 sums.
- Names of files in it are relative to the folder that it is in.
- Hosts given by ` + "`--host` or `OLLAMA_MCP_HOST`" + ` replace all hosts of the file.
- A name with a slash in ` + "`try` and `fallback`" + ` is a provider's model. One of Ollama's own with a slash is given with its tag:
  ` + "`someone/model:latest`" + `.
- An unknown key, a key without a value and a value that cannot be are refused, with the line that they are in.
- A file that changes is read anew, within five seconds or at once on SIGHUP. Hosts, models, providers, keys, scopes,
  ` + "`output-filter`, `guard` and `log-level`" + ` then change while calls go on; other changes are named in the log and wait for a restart. A file
  with a mistake in it changes nothing.

`
