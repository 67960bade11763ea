package main

import (
	_ "embed" // for the setting
	"encoding/json"
)

//go:embed home.json
var homeJSON []byte

// home is where the project lives. home.json is the one place that says so: what is released is
// made from it, and a test holds the README and the workflows to it.
type home struct {
	Owner       string `json:"owner"` // on GitHub
	Name        string `json:"name"`  // of the repository and the program
	Title       string `json:"title"`
	Description string `json:"description"` // at most 100 characters, for the registry
	Maintainer  string `json:"maintainer"`
	Image       string `json:"image"`   // without a tag
	NPM         string `json:"npm"`     // package with the launcher
	Formula     string `json:"formula"` // as Homebrew is asked for it
}

func ourHome() (h home) {
	if err := json.Unmarshal(homeJSON, &h); err != nil {
		panic(err) // a test reads it
	}
	return h
}

// url is the repository.
func (h home) url() string { return "https://github.com/" + h.Owner + "/" + h.Name }

// download is the address of a released file.
func (h home) download(version, file string) string {
	return h.url() + "/releases/download/" + version + "/" + file
}

// registry is the server's name in the registry of MCP servers.
func (h home) registry() string { return "io.github." + h.Owner + "/" + h.Name }
