package main

import (
	"fmt"
	"strings"
)

// manifests writes what registries, hosts and package managers read about the release.
func (r *release) manifests(programs []program) error {
	server, err := r.serverJSON(programs)
	if err != nil {
		return err
	}
	formula, err := r.formula(programs)
	if err != nil {
		return err
	}
	entry := object{"command": "npx", "args": []string{"-y", r.NPM + "@" + r.number()}}
	for name, v := range map[string]any{
		"server.json": server,
		"gemini-extension.json": object{
			"name": r.Name, "version": r.number(), "description": r.Description, "mcpServers": object{"ollama": entry},
		},
		"claude-plugin.json": object{ // is .claude-plugin/plugin.json in the repository of a marketplace
			"name": r.Name, "version": r.number(), "description": r.Description, "license": "MIT", "homepage": r.url(), "repository": r.url(),
			"author": object{"name": r.Owner}, "mcpServers": object{"ollama": entry},
		},
	} {
		text, err := pretty(v)
		if err := r.write(name, text, err); err != nil {
			return err
		}
	}
	return r.write("ollama-mcp.rb", []byte(formula), nil)
}

// serverSchema is the format of server.json.
const serverSchema = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"

// serverJSON is the entry in the registry of MCP servers.
func (r *release) serverJSON(programs []program) (object, error) {
	variables := []object{
		{"name": "OLLAMA_HOST", "description": "Address of the Ollama server", "default": "127.0.0.1:11434", "isRequired": false, "isSecret": false},
		{"name": "OLLAMA_API_KEY", "description": "Key for the Ollama server, if it wants one", "isRequired": false, "isSecret": true},
	}
	stdio := object{"type": "stdio"}
	packages := []object{
		{"registryType": "npm", "identifier": r.NPM, "version": r.number(), "transport": stdio, "environmentVariables": variables},
		{"registryType": "oci", "identifier": r.Image + ":" + r.number(), "transport": stdio, "environmentVariables": variables},
	}
	for _, p := range programs {
		name := r.stem(p) + ".mcpb"
		sum, err := r.sum(name)
		if err != nil {
			return nil, err
		}
		packages = append(packages, object{"registryType": "mcpb", "identifier": r.download(r.version, name), "fileSha256": sum, "transport": stdio})
	}
	return object{
		"$schema": serverSchema, "name": r.registry(), "title": r.Title, "description": r.Description, "version": r.number(),
		"repository": object{"url": r.url(), "source": "github"}, "websiteUrl": r.url(), "packages": packages,
	}, nil
}

// formula is that for Homebrew.
func (r *release) formula(programs []program) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "class OllamaMcp < Formula\n  desc %q\n  homepage %q\n  version %q\n  license \"MIT\"\n", r.Description, r.url(), r.number())
	for _, system := range []struct{ block, os string }{{"on_macos", "darwin"}, {"on_linux", "linux"}} {
		fmt.Fprintf(&b, "\n  %s do\n", system.block)
		for _, p := range programs {
			if p.os != system.os {
				continue
			}
			name := r.stem(p) + ".tar.gz"
			sum, err := r.sum(name)
			if err != nil {
				return "", err
			}
			cpu := map[string]string{"amd64": "on_intel", "arm64": "on_arm"}[p.arch]
			fmt.Fprintf(&b, "    %s do\n      url %q\n      sha256 %q\n    end\n", cpu, r.download(r.version, name), sum)
		}
		b.WriteString("  end\n")
	}
	b.WriteString(`
  def install
    bin.install "ollama-mcp"
    man1.install "man/ollama-mcp.1"
    bash_completion.install "completions/ollama-mcp.bash" => "ollama-mcp"
    zsh_completion.install "completions/_ollama-mcp"
    fish_completion.install "completions/ollama-mcp.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/ollama-mcp version")
  end
end
`)
	return b.String(), nil
}
