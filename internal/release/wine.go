package main

import (
	"archive/zip"
	"bufio"
	"context"
	_ "embed" // for the source
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed wine/bcryptprimitives.c
var bcryptSource []byte

// Programs that run those of Windows, and make what is missing for that, on Debian.
const (
	wine     = "/usr/lib/wine/wine64"
	compiler = "x86_64-w64-mingw32-gcc"
)

// cancelTimeout is how long the end of a cancelled call may take.
const cancelTimeout = time.Minute

// checkWindows runs the program for Windows with Wine: it is called, cancels a call, and installs
// itself into Claude Desktop.
func (r *release) checkWindows(ctx context.Context, packed, dir string) error {
	z, err := zip.OpenReader(packed)
	if err != nil {
		return err
	}
	defer z.Close()
	program := ""
	for _, f := range z.File {
		if filepath.Base(f.Name) != r.Name+".exe" {
			continue
		}
		from, err := f.Open()
		if err != nil {
			return err
		}
		program = filepath.Join(dir, f.Name)
		if err := put(dir, f.Name, from, 0o755); err != nil {
			return err
		}
	}
	prefix := filepath.Join(dir, "wine")
	env := append(os.Environ(), "WINEPREFIX="+prefix, "WINEDEBUG=-all", "WINEDLLOVERRIDES=bcryptprimitives=n")
	boot := exec.CommandContext(ctx, wine, "wineboot", "--init")
	boot.Env = env
	if out, err := boot.CombinedOutput(); err != nil {
		return fmt.Errorf("wineboot, of the Debian package wine64: %w: %s", err, out)
	}
	source := filepath.Join(dir, "bcryptprimitives.c")
	if err := os.WriteFile(source, bcryptSource, 0o600); err != nil {
		return err
	}
	library := filepath.Join(prefix, "drive_c/windows/system32/bcryptprimitives.dll")
	if err := command(ctx, dir, compiler, "-shared", "-o", library, source, "-ladvapi32"); err != nil {
		return fmt.Errorf("the Debian package gcc-mingw-w64-x86-64: %w", err)
	}
	script := filepath.Join(dir, r.Name)
	text := fmt.Sprintf("#!/bin/sh\nWINEPREFIX=%q WINEDEBUG=-all WINEDLLOVERRIDES=bcryptprimitives=n exec %s %q \"$@\"\n", prefix, wine, program)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		return err
	}
	if err := r.works(ctx, script); err != nil {
		return err
	}
	if err := r.installsOnWindows(ctx, script, prefix); err != nil {
		return err
	}
	if os.Getenv("OLLAMA_HOST") == "" {
		return nil
	}
	return cancels(ctx, script)
}

// installsOnWindows has the program write itself into the settings of Claude Desktop.
func (r *release) installsOnWindows(ctx context.Context, script, prefix string) error {
	if err := command(ctx, "", script, "install", "claude-desktop"); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(prefix, "drive_c/users/*/AppData/Roaming/Claude/claude_desktop_config.json"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("the settings of Claude Desktop are in %q: %v", found, err)
	}
	raw, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	var settings struct {
		Servers map[string]struct{ Command string } `json:"mcpServers"`
	}
	if err := json.Unmarshal(raw, &settings); err != nil {
		return err
	}
	if got := settings.Servers["ollama"].Command; !strings.HasPrefix(got, `Z:\`) || !strings.HasSuffix(got, `\`+r.Name+".exe") {
		return fmt.Errorf("the settings of Claude Desktop start %q", got)
	}
	return nil
}

// cancels has the program call a model that writes without end, cancels the call once there is
// progress, and lists the models after that.
func cancels(ctx context.Context, script string) error {
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, script)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	said := bufio.NewScanner(out)
	said.Buffer(nil, 1<<20)
	until := func(words string) error {
		for said.Scan() {
			if strings.Contains(said.Text(), words) {
				return nil
			}
		}
		return fmt.Errorf("%q does not come: %v", words, errors.Join(said.Err(), ctx.Err()))
	}
	for _, step := range []struct{ say, await string }{
		{`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"release","version":"1"}}}`, `"id":1,`},
		{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, ""},
		{`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"generate","arguments":{"model":"tiny-loops","prompt":"hi"},"_meta":{"progressToken":"p"}}}`, `"progressToken":"p"`},
		{`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`, ""},
		{`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"list-models","arguments":{}}}`, `"id":3,`},
	} {
		if _, err := io.WriteString(in, step.say+"\n"); err != nil {
			return err
		}
		if step.await == "" {
			continue
		}
		if err := until(step.await); err != nil {
			return err
		}
	}
	in.Close()
	if err := until("\x00"); ctx.Err() != nil {
		return fmt.Errorf("it does not end: %w", err)
	}
	return cmd.Wait()
}
