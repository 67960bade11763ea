package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/files"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/share"
)

// fileArgs are the arguments of tools that read files in place of their caller, who saves the
// tokens.
type fileArgs struct {
	Files paths `json:"files,omitempty" jsonschema:"paths or globs (src/**/*.go) to read"`
}

// outputArgs are the arguments of tools that write their answer to a file.
type outputArgs struct {
	OutputFile string `json:"output_file,omitempty" jsonschema:"write the answer here and return a receipt"`
	Overwrite  bool   `json:"overwrite,omitempty" jsonschema:"replace output_file"`
}

// paths are paths and globs.
type paths []string

// dirs are the directories that a caller may use, of those that the operator allows. Folders
// that the client says it works in are then the only ones to be read.
func (d Deps) dirs(ctx context.Context) (*files.Dirs, error) {
	if d.Files == nil {
		return nil, nil
	}
	who := caller.FromContext(ctx)
	own := d.Files.Narrow(who.Dirs, who.WriteDirs)
	if !own.ReadsAny() {
		return own, nil
	}
	roots, err := clientRoots(ctx)
	return own.Narrow(roots, nil), err
}

// clientRoots are the folders that the client works in; nil if it has none, or cannot be asked.
func clientRoots(ctx context.Context) (dirs []string, err error) {
	session, ok := mcpserver.ClientSessionFromContext(ctx).(mcpserver.SessionWithRoots)
	if !ok {
		return nil, nil
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got, err := session.ListRoots(ctx, mcp.ListRootsRequest{})
	if _, undeclared := errors.AsType[mcp.MissingRequiredClientCapabilityError](err); undeclared || errors.Is(err, mcpserver.ErrServerInitiatedRequestUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, &fault.Error{
			Code: fault.Forbidden, Message: "the client does not say which folders it works in, so none is read: " + err.Error(), Retryable: true,
			Hint: "call without files, or with a longer wait_seconds",
		}
	}
	if len(got.Roots) > 0 {
		dirs = []string{} // folders that have no path here are not none
	}
	for _, root := range got.Roots {
		if dir, ok := directoryOf(root.URI, runtime.GOOS); ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// directoryOf is the path that a file: URI stands for.
func directoryOf(uri, system string) (path string, ok bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" || u.Path == "" {
		return "", false
	}
	path = u.Path
	if system == "windows" {
		path = strings.TrimPrefix(path, "/")
	}
	return filepath.FromSlash(path), true
}

// fileMemory is the default of Deps.FileBytes.
const fileMemory = 256 << 20

// readFiles reads files for a call, whose memory they take until held is given back.
func (d Deps) readFiles(ctx context.Context, dirs *files.Dirs, patterns []string, held *share.Part) ([]files.File, error) {
	const mostOfCall, mostOfFile = 32 << 20, 10 << 20
	most := min(mostOfCall, held.Most())
	return dirs.Read(ctx, "files", patterns, files.Limits{AllBytes: most, FileBytes: min(mostOfFile, most), Hold: holding(held)})
}

// holding takes memory for files and prompts that are made of them.
func holding(held *share.Part) func(bytes int64) error {
	return func(bytes int64) error {
		if most := held.Most(); held.Taken()+bytes > most {
			return fault.Invalidf("what is read of files takes more than the %.1f MiB that a call may have: split it", mebibytes(most))
		}
		over, full := errors.AsType[*share.Over](held.Take(bytes))
		if !full {
			return nil
		}
		e := &fault.Error{
			Code: fault.Overloaded, Message: "files of calls under way take all of the memory for them", Retryable: true, RetryAfter: time.Second,
			Hint: "call again when some of these calls have ended",
		}
		if over.OfCaller {
			e.Message = fmt.Sprintf("the files of your calls take %.1f MiB, as much as they may at the moment", mebibytes(over.Taken))
		}
		return e
	}
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// useful are the files that can be used. unusable returns why one cannot; "" if it can. A note tells of those that
// patterns match and that are left out; the error is of one that was named, or of the first if none is left.
func useful(all []files.File, unusable func(files.File) string) (kept []files.File, notes []string, err error) {
	const mostNamed = 3
	left := 0
	var named []string // of those that are left out, with the reason
	for _, f := range all {
		why := unusable(f)
		if f.Err != nil {
			why = f.Err.Error()
		}
		switch {
		case why == "":
			kept = append(kept, f)
			continue
		case !f.Matched:
			return nil, nil, fault.Invalidf("argument \"files\": %s %s", f.Name, why)
		case left < mostNamed:
			named = append(named, f.Name+" "+why)
		}
		left++
	}
	switch {
	case left == 0:
		return kept, nil, nil
	case len(kept) == 0:
		return nil, nil, fault.Invalidf("argument \"files\": %s", named[0])
	case left > mostNamed:
		named = append(named, fmt.Sprintf("%d more", left-mostNamed))
	}
	return kept, []string{fmt.Sprintf("Files left out: %s.", strings.Join(named, "; "))}, nil
}

// prepared is what a call has of its files before a model is asked.
type prepared struct {
	text   string // of all text files, each under its name
	images []backend.ImageData
	notes  []string
	to     *files.Output // that the answer is written to; nil for none
	held   *share.Part   // to be given back when the call has ended; nil for none
}

// prepare reads the files of a call and checks the one that its answer is to be written to. The memory that
// it holds is given back when the call has ended, with an error too.
func (d Deps) prepare(ctx context.Context, in fileArgs, out outputArgs) (p prepared, err error) {
	if len(in.Files) == 0 && out.OutputFile == "" {
		return p, nil
	}
	dirs, err := d.dirs(ctx)
	if err != nil {
		return p, err
	}
	if out.OutputFile != "" {
		if p.to, err = dirs.Create("output_file", out.OutputFile, out.Overwrite); err != nil {
			return p, err
		}
	}
	if len(in.Files) == 0 {
		return p, nil
	}
	p.held = d.fileShare.Part(caller.FromContext(ctx).ID)
	all, err := d.readFiles(ctx, dirs, in.Files, p.held)
	if err != nil {
		return p, err
	}
	if all, p.notes, err = useful(all, func(files.File) string { return "" }); err != nil {
		return p, err
	}
	var b strings.Builder
	for _, f := range all {
		if f.Image != nil {
			p.images = append(p.images, f.Image)
			continue
		}
		fmt.Fprintf(&b, "=== %s ===\n%s\n\n", f.Name, strings.TrimRight(f.Text, "\n"))
	}
	p.text = b.String()
	return p, nil
}

// receiptOut says what was written in place of an answer.
type receiptOut struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	Tokens int    `json:"tokens"`
	Begins string `json:"begins,omitempty"` // a few first lines
	noted
}

// moveTo writes the text of an answer to a file, and puts a receipt in its place.
func (r *result) moveTo(to *files.Output, resp *inference.Response) error {
	if resp.CallsTools {
		r.notes = append(r.notes, "Nothing was written to output_file: the model wants functions called first.")
		return nil
	}
	size, err := to.Write(func(w io.Writer) error {
		_, err := io.WriteString(w, resp.Text)
		return err
	})
	if err != nil {
		e := fault.Of(err)
		e.Partial = resp.Text // which has cost time
		return e
	}
	r.data = &receiptOut{Path: to.Path(), Bytes: size, Tokens: resp.Served.TokensOut, Begins: beginning(resp.Text)}
	r.text, r.object = "", nil
	return nil
}

// beginning are a few first lines of a text.
func beginning(text string) string {
	const mostLines, mostBytes = 5, 400
	lines := strings.SplitN(text, "\n", mostLines+1)
	short := strings.Join(lines[:min(mostLines, len(lines))], "\n")
	if len(short) > mostBytes {
		short = strings.ToValidUTF8(short[:mostBytes], "")
	}
	if short != text {
		short += "…"
	}
	return short
}
