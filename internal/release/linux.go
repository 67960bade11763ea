package main

import (
	"bytes"
	_ "embed" // for the unit
	"fmt"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers the format
)

//go:embed ollama-mcp.service
var unit []byte

//go:embed config.yaml
var serviceConfig []byte

// linuxPackages makes the packages for Debian and Fedora, and what descends from them.
func (r *release) linuxPackages(p program, extras []file) error {
	places := map[string]string{
		"completions/ollama-mcp.bash": "/usr/share/bash-completion/completions/ollama-mcp",
		"completions/_ollama-mcp":     "/usr/share/zsh/vendor-completions/_ollama-mcp",
		"completions/ollama-mcp.fish": "/usr/share/fish/vendor_completions.d/ollama-mcp.fish",
		"man/ollama-mcp.1":            "/usr/share/man/man1/ollama-mcp.1",
		"LICENSE":                     "/usr/share/doc/ollama-mcp/copyright",
		"THIRD-PARTY-LICENSES.txt":    "/usr/share/doc/ollama-mcp/THIRD-PARTY-LICENSES.txt",
		"README.md":                   "/usr/share/doc/ollama-mcp/README.md",
	}
	var contents files.Contents
	add := func(source, place, kind string, mode os.FileMode) {
		contents = append(contents, &files.Content{Source: source, Destination: place, Type: kind, FileInfo: &files.ContentFileInfo{Mode: mode, MTime: r.date, Owner: "root", Group: "root"}})
	}
	add(p.file, "/usr/bin/ollama-mcp", "", 0o755)
	dir := filepath.Join(r.work, "linux-"+p.arch)
	for _, f := range append([]file{{name: "ollama-mcp.service", data: unit}, {name: "config.yaml", data: serviceConfig}}, extras...) {
		source := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(source, f.data, 0o644); err != nil {
			return err
		}
		switch place := places[f.name]; {
		case f.name == "config.yaml":
			add(source, "/etc/ollama-mcp/config.yaml", "config|noreplace", 0o644)
		case f.name == "ollama-mcp.service":
			add(source, "/usr/lib/systemd/system/ollama-mcp.service", "", 0o644)
		case place != "":
			add(source, place, "", 0o644)
		}
	}
	for _, format := range []string{"deb", "rpm"} {
		info := nfpm.WithDefaults(&nfpm.Info{
			Name: r.Name, Arch: p.arch, Platform: "linux", Version: r.version, Section: "net", Priority: "optional",
			Maintainer: r.Maintainer, Description: r.Description, Vendor: r.Owner, Homepage: r.url(), License: "MIT", MTime: r.date,
			Overridables: nfpm.Overridables{
				Contents: contents,
				RPM:      nfpm.RPM{Summary: r.Description, BuildHost: "localhost"},
			},
		})
		packager, err := nfpm.Get(format)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		err = packager.Package(info, &b)
		if err := r.write(fmt.Sprintf("ollama-mcp_%s_linux_%s.%s", r.number(), p.arch, format), b.Bytes(), err); err != nil {
			return err
		}
	}
	return nil
}
