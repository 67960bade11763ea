// Package call calls one tool of an MCP server, as any client would, and prints
// the answer.
//
// It promises that nothing but the answer goes to Stdout, that a call which is
// interrupted is cancelled in the server before the server is stopped, and that
// the exit status says what happened:
//
//	0    the tool answered
//	1    the tool answered with an error, or its answer could not be printed
//	2    the call is invalid: no such tool, a bad argument, an unreadable file
//	3    the server could not be started or reached, or ended before it answered
//	130  interrupted
//
// Whether arguments are known and allowed is left to the server.
package call

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/table"
	"ollama-mcp/internal/terminal"
)

const (
	statusError       = 1
	statusUsage       = 2
	statusServer      = 3
	statusInterrupted = 130 // the convention of shells
)

// Options say what to call, and how.
type Options struct {
	Server   []string // command that starts the server; it inherits our environment
	URL      string   // URL of a running server to call instead; "" for none
	Key      string   // API key sent to that URL; "" for none
	Tool     string   // name of the tool; "" lists the tools
	Args     []string // key=value pairs, as Run reads them
	ArgsJSON string   // JSON object of arguments, which Args override; "" for none
	JSON     bool     // print the whole result as JSON instead of the text alone
	Help     bool     // print what arguments the tool takes, and do not call it
	Progress bool     // Stderr is a terminal: show progress
	Verbose  bool     // say on Stderr which model and host served the call, and what the model thought
	Person   bool     // Stdout is a terminal: print text as it arrives, and embeddings as a table
	Style    terminal.Style

	Stdin          io.Reader // read only for the value "-"
	Stdout, Stderr io.Writer
}

// Run starts the server unless there is a URL, calls the tool, prints the answer, stops the
// server if it has started it, and returns the exit status. When ctx ends, the call is
// cancelled.
//
// The type that the tool declares for an argument decides how its value is read: as text, or
// as JSON if text is not allowed or the value is JSON of another allowed type. A dot in a key
// leads into an object, as in options.temperature=0, and a key for a list may be repeated.
// The value @file stands for the contents of the file, - for standard input, and @@x for
// "@x". Files for the key images are sent in base64.
//
// The results of list-models and status are printed as tables, unless JSON is set. On a terminal
// so are embeddings, and text is printed as it arrives.
func Run(ctx context.Context, o Options) (status int) {
	term := &progressLine{w: o.Stderr}
	err := o.run(ctx, term)
	term.erase()
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		fmt.Fprintln(term, o.Style.Red("error:")+" interrupted")
		return statusInterrupted
	}
	fmt.Fprintf(term, "%s %v\n", o.Style.Red("error:"), err)
	if f, ok := errors.AsType[failure](err); ok {
		return f.status
	}
	return statusError
}

// failure is an error with the exit status that it leads to.
type failure struct {
	status int
	err    error
}

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

func (o *Options) run(ctx context.Context, line *progressLine) error {
	srv, err := o.connect(line)
	if err != nil {
		return err
	}
	defer srv.close()
	tools, err := srv.tools(ctx)
	if err != nil {
		return err
	}
	if o.Tool == "" {
		return listTools(o.Stdout, tools)
	}
	tool := find(tools, o.Tool)
	if tool == nil {
		return srv.refuses(ctx, o.Tool)
	}
	if o.Help {
		return o.printHelp(tool)
	}
	args, err := o.arguments(ctx, tool)
	if err != nil {
		return failure{statusUsage, err}
	}
	var progress func(string, textPiece)
	var stream *stream
	if o.Person && !o.JSON {
		stream = newStream(o.Stdout)
	}
	if o.Progress || stream != nil {
		progress = func(message string, piece textPiece) {
			if stream != nil && piece.Text != "" {
				line.erase()
				stream.write(piece)
				return
			}
			if o.Progress && (stream == nil || !stream.begun) {
				line.show(message)
			}
		}
	}
	result, err := srv.call(ctx, tool.Name, args, stream != nil, progress)
	if err != nil {
		return err
	}
	line.erase()
	return o.print(line, kebab(tool.Name), result, stream)
}

// patience is how long a call waits for its result before it becomes a job: a person can press
// Ctrl-C.
const patience = 365 * 24 * time.Hour

// arguments returns the arguments of the call.
func (o *Options) arguments(ctx context.Context, tool *mcp.Tool) (map[string]any, error) {
	s, err := schemaOf(tool)
	if err != nil {
		return nil, err
	}
	from := sources{
		file:  os.ReadFile,
		stdin: func() ([]byte, error) { return readAll(ctx, o.Stdin) },
	}
	args, err := from.arguments(s, o.Args, o.ArgsJSON)
	if err == nil && args["wait_seconds"] == nil && s.property("wait_seconds") != nil {
		args["wait_seconds"] = patience.Seconds()
	}
	return args, err
}

// readAll reads until the end of r or of ctx. A read from a terminal cannot be interrupted,
// and ends with the process.
func readAll(ctx context.Context, r io.Reader) (data []byte, err error) {
	type read struct {
		data []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		data, err := io.ReadAll(r)
		done <- read{data, err}
	}()
	select {
	case got := <-done:
		return got.data, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func listTools(w io.Writer, tools []mcp.Tool) error {
	list := table.Table{Head: []string{"", ""}}
	for _, tool := range tools {
		sentence, _, _ := strings.Cut(tool.Description, ". ")
		list.Row(tool.Name, strings.TrimSuffix(sentence, "."))
	}
	var text strings.Builder
	list.Print(&text, true)
	_, err := io.WriteString(w, text.String())
	return err
}

// find returns the tool of that name, nil for none. Names of tools may be written with - or _, whichever the server
// lists.
func find(tools []mcp.Tool, name string) *mcp.Tool {
	i := slices.IndexFunc(tools, func(t mcp.Tool) bool { return kebab(t.Name) == kebab(name) })
	if i < 0 {
		return nil
	}
	return &tools[i]
}

// kebab is the name of a tool with hyphens.
func kebab(name string) string { return strings.ReplaceAll(name, "_", "-") }
