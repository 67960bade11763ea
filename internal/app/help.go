package app

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"ollama-mcp/internal/config"
)

const usage = `ollama-mcp lets MCP hosts and agents use the models of an Ollama server as tools.

  ollama-mcp                     serve MCP on stdin and stdout; this is what a host starts
  ollama-mcp --listen ADDRESS    serve MCP over HTTP, at /mcp and for older clients at /sse
  ollama-mcp install [HOST …]    write the server into the settings of MCP hosts, such as cursor;
                                 without a name, of all that are found
  ollama-mcp call                list the tools
  ollama-mcp call TOOL [k=v …]   call one tool as a client would; k=@FILE and k=- read the value
  ollama-mcp doctor              find problems with the hosts, and say how to solve them
  ollama-mcp bench               put load on the hosts, and print throughput and latency
  ollama-mcp token new NAME      make a key for a caller over HTTP
  ollama-mcp version | help

Options, each also an environment variable (--log-level is OLLAMA_MCP_LOG_LEVEL):
%s
Options of call:
      --args-json object     arguments as a JSON object; k=v pairs override it
      --json                 print the whole result as JSON
      --url address          call a running server, such as http://127.0.0.1:8383/mcp;
                             $OLLAMA_MCP_KEY is the key, if the server requires one

Options of install, which options of the server can follow after --:
%s
Options of bench:
%s`

func help(w io.Writer) {
	ofInstall, ofBench := config.NoFlags(), config.NoFlags()
	new(installOptions).flags(ofInstall)
	new(benchOptions).flags(ofBench)
	fmt.Fprintf(w, usage, config.Flags(new(config.Config)).FlagUsagesWrapped(100), ofInstall.FlagUsagesWrapped(100), ofBench.FlagUsagesWrapped(100))
}

// version is the version of the module, as the build recorded it.
func version() string { return versionOf(debug.ReadBuildInfo()) }

func versionOf(info *debug.BuildInfo, known bool) string {
	if !known || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// versionLine says what was built, with what, for what, and from which commit.
func versionLine(info *debug.BuildInfo, known bool) string {
	line := fmt.Sprintf("ollama-mcp %s %s %s/%s", versionOf(info, known), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if !known {
		return line
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			line += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return line
}
