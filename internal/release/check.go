package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Versions of what the check asks for its opinion.
const (
	registryModule  = "github.com/modelcontextprotocol/registry"
	registryVersion = "v1.8.7"
	bundleTool      = "@anthropic-ai/mcpb@2.1.2"
)

// maxImage is the size in bytes that the image may have, for one architecture.
const maxImage = 20 << 20

// check installs each artifact that this machine can run, in an empty place, and calls it:
// without an Ollama to be reached, and with one if OLLAMA_HOST is set.
func (r *release) check(ctx context.Context) error {
	ours, err := runnable(platforms)
	if err != nil {
		return err
	}
	list, err := r.sumsOfFiles()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no release to check in %s; make one first: make release", r.out)
	}
	if err != nil {
		return err
	}
	if said, err := os.ReadFile(filepath.Join(r.out, sums)); err != nil || string(said) != list {
		return fmt.Errorf("%s is not that of the files (%v)", sums, err)
	}
	prefix, stem := filepath.Join(r.out, "ollama-mcp_"+r.number()+"_"), r.stem(ours)
	checks := []struct {
		name string
		run  func(context.Context, string) error
	}{
		{"archive", func(ctx context.Context, dir string) error {
			if err := unpack(filepath.Join(r.out, stem+".tar.gz"), dir); err != nil {
				return err
			}
			return r.works(ctx, filepath.Join(dir, stem, "ollama-mcp"))
		}},
		{"deb", func(ctx context.Context, dir string) error {
			if err := command(ctx, "", "dpkg-deb", "--extract", prefix+"linux_"+ours.arch+".deb", dir); err != nil {
				return err
			}
			return r.worksAsAService(ctx, dir)
		}},
		{"rpm", func(ctx context.Context, dir string) error {
			if err := unpackRPM(ctx, prefix+"linux_"+ours.arch+".rpm", dir); err != nil {
				return err
			}
			return r.worksAsAService(ctx, dir)
		}},
		{"image", func(ctx context.Context, dir string) error {
			return r.checkImage(ctx, prefix+"image.tar.gz", dir, ours)
		}},
		{"npm", func(ctx context.Context, dir string) error { return r.checkNPM(ctx, dir, ours) }},
		{"mcpb", func(ctx context.Context, dir string) error {
			return r.checkBundle(ctx, filepath.Join(r.out, stem+".mcpb"), dir)
		}},
		{"windows", func(ctx context.Context, dir string) error {
			return r.checkWindows(ctx, prefix+"windows_amd64.zip", dir)
		}},
		{"server.json", r.checkServerJSON},
	}
	var problems []error
	for _, c := range checks {
		dir, err := os.MkdirTemp("", "check")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := c.run(ctx, dir); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", c.name, err))
			continue
		}
		fmt.Println("works:", c.name)
	}
	return errors.Join(problems...)
}

// unpackRPM unpacks a package without rpm, which wants to own a system. The names in it are absolute.
func unpackRPM(ctx context.Context, name, dir string) error {
	return command(ctx, dir, "sh", "-c", `rpm2cpio "$0" | cpio --extract --make-directories --no-absolute-filenames --quiet`, name)
}

// worksAsAService sees that a package for Linux has the program, its unit and its configuration, and
// calls the program.
func (r *release) worksAsAService(ctx context.Context, dir string) error {
	for _, name := range []string{"usr/lib/systemd/system/ollama-mcp.service", "etc/ollama-mcp/config.yaml", "usr/share/man/man1/ollama-mcp.1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return r.works(ctx, filepath.Join(dir, "usr/bin/ollama-mcp"))
}

// works calls an installed program: it has to name its version, list its tools, and say what to
// do where there is no Ollama; where there is one, to list its models.
func (r *release) works(ctx context.Context, command string, args ...string) error {
	out, err := exec.CommandContext(ctx, command, append(args, "version")...).Output()
	if err != nil || !strings.Contains(string(out), r.version+" ") || !strings.Contains(string(out), r.commit[:12]) {
		return fmt.Errorf("version: %w: %s", errors.Join(err, errors.New("want "+r.version+" and its commit")), out)
	}
	if _, err := listTools(ctx, command, args...); err != nil {
		return err
	}
	call := func(ollama string) (string, error) {
		cmd := exec.CommandContext(ctx, command, append(args, "call", "list-models")...)
		cmd.Env = append(os.Environ(), "OLLAMA_HOST="+ollama)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := call("127.0.0.1:1"); !strings.Contains(out, "ollama serve") {
		return fmt.Errorf("without Ollama: %v: %s", err, out)
	}
	if ollama := os.Getenv("OLLAMA_HOST"); ollama != "" {
		if out, err := call(ollama); err != nil || !strings.Contains(out, "MODEL") {
			return fmt.Errorf("with Ollama at %s: %v: %s", ollama, err, out)
		}
	}
	return nil
}

// command runs a program that has to succeed.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// unpack unpacks what tarGz has packed.
func unpack(packed, dir string) error {
	f, err := os.Open(packed)
	if err != nil {
		return err
	}
	defer f.Close()
	return unpackFrom(f, dir)
}

func unpackFrom(packed io.Reader, dir string) error {
	z, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := put(dir, head.Name, t, os.FileMode(head.Mode)); err != nil {
			return err
		}
	}
}

func put(dir, name string, from io.Reader, mode os.FileMode) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%s leads out of its directory", name)
	}
	target := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	data, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	return os.WriteFile(target, data, mode)
}

func (r *release) checkImage(ctx context.Context, packed, dir string, ours program) error {
	if err := unpack(packed, filepath.Join(dir, "layout")); err != nil {
		return err
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, "layout"))
	if err != nil {
		return err
	}
	outer, err := index.IndexManifest()
	if err != nil || len(outer.Manifests) != 1 {
		return fmt.Errorf("not one index of images: %v", err)
	}
	if index, err = index.ImageIndex(outer.Manifests[0].Digest); err != nil {
		return err
	}
	inner, err := index.IndexManifest()
	if err != nil || len(inner.Manifests) != 2 {
		return fmt.Errorf("not two architectures: %v", err)
	}
	for _, m := range inner.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			return err
		}
		if err := r.checkImageOf(ctx, image, filepath.Join(dir, m.Platform.Architecture), m.Platform.Architecture == ours.arch); err != nil {
			return fmt.Errorf("%s: %w", m.Platform.Architecture, err)
		}
	}
	return nil
}

func (r *release) checkImageOf(ctx context.Context, image v1.Image, dir string, ours bool) error {
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	if got := config.Config.Labels["io.modelcontextprotocol.server.name"]; got != r.registry() {
		return fmt.Errorf("its label names the server %q", got)
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	size := int64(0)
	for _, layer := range layers {
		n, err := layer.Size()
		if err != nil {
			return err
		}
		size += n
		packed, err := layer.Compressed()
		if err != nil {
			return err
		}
		if err := unpackFrom(packed, dir); err != nil {
			return err
		}
	}
	if size > maxImage {
		return fmt.Errorf("it has %d bytes, more than %d", size, maxImage)
	}
	if !ours {
		return nil
	}
	return r.works(ctx, filepath.Join(dir, config.Config.Entrypoint[0]))
}

func (r *release) checkNPM(ctx context.Context, dir string, ours program) error {
	system, cpu := npmPlatform(ours)
	packages := []string{npmFile(r.NPM, r.number()), npmFile(r.NPM+"-"+system+"-"+cpu, r.number())}
	args := []string{"install", "--offline", "--no-audit", "--no-fund", "--prefix", dir}
	for _, name := range packages {
		args = append(args, filepath.Join(r.out, name))
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte("{}\n"), 0o644); err != nil {
		return err
	}
	if err := command(ctx, dir, "npm", args...); err != nil {
		return err
	}
	return r.works(ctx, filepath.Join(dir, "node_modules", ".bin", r.Name))
}

func (r *release) checkBundle(ctx context.Context, packed, dir string) error {
	z, err := zip.OpenReader(packed)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		from, err := f.Open()
		if err != nil {
			return err
		}
		if err := put(dir, f.Name, from, f.Mode()); err != nil {
			return err
		}
	}
	if err := command(ctx, dir, "npx", "--yes", bundleTool, "validate", filepath.Join(dir, "manifest.json")); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return err
	}
	var manifest struct {
		Server struct {
			Config struct{ Command string } `json:"mcp_config"`
		}
		Tools []tool
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return err
	}
	program := strings.ReplaceAll(manifest.Server.Config.Command, "${__dirname}", dir)
	tools, err := listTools(ctx, program)
	if err != nil {
		return err
	}
	if fmt.Sprint(tools) != fmt.Sprint(manifest.Tools) {
		return fmt.Errorf("its manifest names the tools %v, and it has %v", manifest.Tools, tools)
	}
	return r.works(ctx, program)
}

// checkServerJSON holds server.json to the schema in the registry's own source.
func (r *release) checkServerJSON(ctx context.Context, _ string) error {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", registryModule+"@"+registryVersion).Output()
	var module struct{ Dir string }
	if bad := json.Unmarshal(out, &module); bad != nil || module.Dir == "" {
		return fmt.Errorf("%s cannot be had: %w: %s", registryModule, err, out)
	}
	dir := module.Dir
	raw, err := os.ReadFile(filepath.Join(dir, "internal/validators/schemas/2025-12-11.json"))
	if err != nil {
		return err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(serverSchema, document); err != nil {
		return err
	}
	schema, err := compiler.Compile(serverSchema)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(r.out, "server.json"))
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}
