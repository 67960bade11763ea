package main

import (
	_ "embed" // for the launcher
	"os"
	"path/filepath"
	"strings"
)

//go:embed launcher.js
var launcher []byte

// npmPackages makes a package for each platform, of which npm installs the one that fits, and
// the package with the launcher that starts it.
func (r *release) npmPackages(programs []program) error {
	optional := object{}
	for _, p := range programs {
		data, err := os.ReadFile(p.file)
		if err != nil {
			return err
		}
		system, cpu := npmPlatform(p)
		name := r.NPM + "-" + system + "-" + cpu
		optional[name] = r.number()
		about := r.npmAbout(name, "The program of "+r.NPM+" for "+system+" "+cpu)
		about["os"], about["cpu"], about["preferUnplugged"] = []string{system}, []string{cpu}, true
		err = r.npmPackage(name, about, file{name: "package/bin/" + p.name(), data: data, exec: true})
		if err != nil {
			return err
		}
	}
	about := r.npmAbout(r.NPM, r.Description)
	about["mcpName"], about["bin"] = r.registry(), object{r.Name: "bin/launcher.js"}
	about["optionalDependencies"], about["engines"] = optional, object{"node": ">=18"}
	readme, err := os.ReadFile(filepath.Join(r.root, "README.md"))
	if err != nil {
		return err
	}
	script := strings.ReplaceAll(string(launcher), "@PACKAGE@", r.NPM)
	return r.npmPackage(r.NPM, about, file{name: "package/bin/launcher.js", data: []byte(script), exec: true}, file{name: "package/README.md", data: readme})
}

func npmPlatform(p program) (system, cpu string) {
	system, cpu = p.os, p.arch
	if system == "windows" {
		system = "win32"
	}
	if cpu == "amd64" {
		cpu = "x64"
	}
	return system, cpu
}

func (r *release) npmAbout(name, description string) object {
	return object{
		"name": name, "version": r.number(), "description": description, "license": "MIT", "homepage": r.url(),
		"repository": object{"type": "git", "url": "git+" + r.url() + ".git"}, "keywords": []string{"mcp", "ollama"},
	}
}

func (r *release) npmPackage(name string, about object, files ...file) error {
	text, err := pretty(about)
	if err != nil {
		return err
	}
	licence, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return err
	}
	files = append([]file{{name: "package/package.json", data: text}, {name: "package/LICENSE", data: licence}}, files...)
	packed, err := tarGz(files, r.date)
	return r.write(npmFile(name, r.number()), packed, err)
}

// npmFile is the name that npm pack would give a package.
func npmFile(name, number string) string {
	return "npm-" + strings.ReplaceAll(strings.TrimPrefix(name, "@"), "/", "-") + "-" + number + ".tgz"
}
