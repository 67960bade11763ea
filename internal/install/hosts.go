package install

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// Places are where a user's settings are.
type Places struct {
	OS      string // as runtime.GOOS
	Home    string // the user's home directory
	Config  string // os.UserConfigDir
	Project string // the current directory
	Getenv  func(string) string
}

// Here returns the places of this process.
func Here() (Places, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return Places{}, err
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return Places{}, err
	}
	dir, err := os.Getwd()
	return Places{runtime.GOOS, home, config, dir, os.Getenv}, err
}

// dotConfig is the directory of programs that keep to ~/.config on every system but Windows.
func (p Places) dotConfig() string {
	if p.OS == "darwin" {
		return filepath.Join(p.Home, ".config")
	}
	return p.Config
}

// host is an MCP host, and what its settings look like.
type host struct {
	name, title string
	user        func(Places) string // file of the user's settings
	project     string              // file of a project's settings, from its directory; "" if there is none
	// found is what exists where the host is installed; nil for the directory of the user's
	// settings.
	found   func(Places) string
	format  format
	servers func(settings any) []string // path to the object that holds the servers
	entry   func(Entry) members
	source  string // where the shape is known from
	next    string // what the user has to do afterwards
}

// Sources of what the table says.
const (
	documented = "The host's documentation describes this file."
	secondHand = "This file is known from other people's descriptions: check with the host's documentation if it has no effect."
)

// hosts are all that are known, in the order of the documentation. Only those have a time
// limit in their entry whose settings are documented to have one.
var hosts = []host{
	{
		name: "claude-desktop", title: "Claude Desktop",
		user:   func(p Places) string { return filepath.Join(p.Config, "Claude", "claude_desktop_config.json") },
		format: jsonFormat{}, servers: at("mcpServers"), entry: plain, source: documented,
		next: "quit Claude Desktop, also in the tray or menu bar, and start it again",
	},
	{
		name: "claude-code", title: "Claude Code",
		user:    func(p Places) string { return filepath.Join(p.Home, ".claude.json") },
		project: ".mcp.json",
		found:   func(p Places) string { return filepath.Join(p.Home, ".claude.json") },
		format:  jsonFormat{}, servers: at("mcpServers"), source: documented,
		entry: func(e Entry) members {
			return slices.Concat(members{{"type", "stdio"}}, limited(e), members{{"timeout", hostWait.Milliseconds()}})
		},
		next: "restart Claude Code; /mcp shows the server",
	},
	{
		name: "vscode", title: "VS Code",
		user:    func(p Places) string { return filepath.Join(p.Config, "Code", "User", "mcp.json") },
		project: filepath.Join(".vscode", "mcp.json"),
		format:  jsonFormat{}, servers: at("servers"), source: documented,
		entry: func(e Entry) members { return slices.Concat(members{{"type", "stdio"}}, plain(e)) },
		next:  "run \"MCP: List Servers\" from the command palette, and start the server",
	},
	{
		name: "cursor", title: "Cursor",
		user:    func(p Places) string { return filepath.Join(p.Home, ".cursor", "mcp.json") },
		project: filepath.Join(".cursor", "mcp.json"),
		format:  jsonFormat{}, servers: at("mcpServers"), entry: plain, source: documented,
		next: "look at Settings, MCP; the server is switched on there",
	},
	{
		name: "codex", title: "Codex",
		user: func(p Places) string {
			if dir := p.Getenv("CODEX_HOME"); dir != "" {
				return filepath.Join(dir, "config.toml")
			}
			return filepath.Join(p.Home, ".codex", "config.toml")
		},
		project: filepath.Join(".codex", "config.toml"),
		format:  tomlFormat{}, servers: at("mcp_servers"), source: documented,
		entry: func(e Entry) members {
			return append(limited(e), member{"tool_timeout_sec", int64(hostWait.Seconds())})
		},
		next: "restart Codex; /mcp shows the server",
	},
	{
		name: "gemini", title: "Gemini CLI",
		user:    func(p Places) string { return filepath.Join(p.Home, ".gemini", "settings.json") },
		project: filepath.Join(".gemini", "settings.json"),
		format:  jsonFormat{}, servers: at("mcpServers"), source: documented,
		entry: func(e Entry) members {
			return append(limited(e), member{"timeout", hostWait.Milliseconds()})
		},
		next: "restart Gemini CLI; /mcp shows the server",
	},
	{
		name: "zed", title: "Zed",
		user: func(p Places) string {
			if p.OS == "windows" {
				return filepath.Join(p.Config, "Zed", "settings.json")
			}
			return filepath.Join(p.dotConfig(), "zed", "settings.json")
		},
		project: filepath.Join(".zed", "settings.json"),
		format:  jsonFormat{}, servers: at("context_servers"), entry: plain, source: documented,
		next: "look at the settings of the agent panel; a green dot is beside the server",
	},
	{
		name: "lm-studio", title: "LM Studio",
		user:   func(p Places) string { return filepath.Join(p.Home, ".lmstudio", "mcp.json") },
		format: jsonFormat{}, servers: at("mcpServers"), entry: plain, source: secondHand,
		next: "switch the server on in the chat's list of integrations",
	},
	{
		name: "opencode", title: "opencode",
		user:    func(p Places) string { return filepath.Join(p.dotConfig(), "opencode", "opencode.json") },
		project: "opencode.json",
		format:  jsonFormat{}, source: documented,
		servers: func(settings any) []string {
			if _, ok := lookUp(settings, []string{"mcp", "servers"}).(map[string]any); ok {
				return []string{"mcp", "servers"} // since version 2
			}
			return []string{"mcp"}
		},
		entry: func(e Entry) members {
			entry := members{{"type", "local"}, {"command", append([]string{e.Command}, e.Args...)}}
			if env := environment(e.Env); len(env) > 0 {
				entry = append(entry, member{"environment", env})
			}
			return entry
		},
		next: "restart opencode",
	},
	{
		name: "windsurf", title: "Windsurf",
		user:   func(p Places) string { return filepath.Join(p.Home, ".codeium", "windsurf", "mcp_config.json") },
		format: jsonFormat{}, servers: at("mcpServers"), entry: plain, source: secondHand,
		next: "press Refresh in the list of MCP servers",
	},
}

// Names are the names of all known hosts.
func Names() []string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.name
	}
	return names
}

// file returns the settings file of the user, or of the project.
func (h host) file(p Places, project bool) string {
	if project {
		return filepath.Join(p.Project, h.project)
	}
	return h.user(p)
}

// isFound reports whether the host seems to be installed.
func (h host) isFound(p Places) bool {
	sign := filepath.Dir(h.user(p))
	if h.found != nil {
		sign = h.found(p)
	}
	_, err := os.Stat(sign)
	return err == nil
}

func (h host) known() string { return "(" + h.source + ")" }

// at is the path to an object at the top of the settings.
func at(name string) func(any) []string { return func(any) []string { return []string{name} } }

// plain is the entry that most hosts take.
func plain(e Entry) members {
	args := e.Args
	if args == nil {
		args = []string{}
	}
	entry := members{{"command", e.Command}, {"args", args}}
	if env := environment(e.Env); len(env) > 0 {
		entry = append(entry, member{"env", env})
	}
	return entry
}

// limited is the entry for a host that can be told how long to wait for a tool: the server
// then takes nearly as long, and answers before the host gives up.
func limited(e Entry) members {
	env := maps.Clone(e.Env)
	if env == nil {
		env = make(map[string]string)
	}
	if env[timeoutVar] == "" {
		env[timeoutVar] = serverLimit.String()
	}
	e.Env = env
	return plain(e)
}

func environment(env map[string]string) members {
	var sorted members
	for _, name := range slices.Sorted(maps.Keys(env)) {
		sorted = append(sorted, member{name, env[name]})
	}
	return sorted
}
