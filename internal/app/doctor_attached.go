package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/config"
	"ollama-mcp/internal/doctor"
	"ollama-mcp/internal/install"
)

// attached compares what MCP hosts on this machine would start with the configuration of this
// shell.
type attached struct {
	config config.Config
	places install.Places
}

// probeTimeout limits the question whether the Ollama server of an entry answers.
const probeTimeout = 5 * time.Second

// findings are about the entries of this program in the settings of MCP hosts.
func (a attached) findings(ctx context.Context, entries []install.Installed) (all []doctor.Finding) {
	started := 0
	for _, e := range entries {
		subject := e.Title
		if e.Entry.Name != "" && e.Entry.Name != "ollama" {
			subject += " (" + e.Entry.Name + ")"
		}
		switch {
		case e.Err != nil:
			all = append(all, doctor.Warned(subject, fmt.Sprintf("%s: %v", e.File, e.Err), "mend the file, or move it away"))
		case e.Off:
			all = append(all, doctor.Warned(subject, "the server is switched off in "+e.File, "switch it on there"))
		default:
			started++
			all = append(all, a.entry(ctx, subject, e))
		}
	}
	isOfShell := a.config.HostsFrom == "OLLAMA_HOST" || strings.HasPrefix(a.config.HostsFrom, "OLLAMA_MCP_")
	if started == 0 && isOfShell && len(a.config.Listen) == 0 {
		value := strings.Join(addressesOf(a.config), ",")
		all = append(all, doctor.Warned("address",
			"MCP hosts do not pass on the variables of this shell, so a server that one starts does not get "+a.config.HostsFrom,
			fmt.Sprintf("`ollama-mcp install` writes it into the settings of your hosts; by hand, add \"env\": {%q: %q} to the server's entry", a.config.HostsFrom, value)))
	}
	return all
}

// entry is the finding about one entry.
func (a attached) entry(ctx context.Context, subject string, e install.Installed) doctor.Finding {
	reinstall := "ollama-mcp install " + e.Host
	command := e.Entry.Command
	if filepath.IsAbs(command) {
		if info, err := os.Stat(command); errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
			return doctor.Failed(subject, fmt.Sprintf("starts %s, which does not exist (%s)", command, e.File), reinstall+", which writes the path of this program")
		}
	} else if _, err := exec.LookPath(command); err != nil {
		return doctor.Failed(subject, fmt.Sprintf("starts %q, which is not on the PATH (%s)", command, e.File), reinstall+", which writes the absolute path of this program")
	}
	c, err := a.seenBy(e.Entry, func(string) string { return "" })
	if err != nil {
		next := "mend args or env in " + e.File
		if _, withShell := a.seenBy(e.Entry, os.Getenv); withShell == nil {
			next = "add the variable that it names to env in " + e.File + ": hosts do not pass on those of this shell"
		}
		return doctor.Failed(subject, "the server does not start as this host starts it: "+err.Error(), next)
	}
	addresses, here := addressesOf(c), addressesOf(a.config)
	if loopback := slices.IndexFunc(addresses, isLoopback); e.Contained && loopback >= 0 {
		return doctor.Failed(subject, fmt.Sprintf("starts the server in a container, where %s is the container itself (%s)", addresses[loopback], e.File),
			"in "+e.File+" add --network host to the arguments of "+e.Via+", or -e OLLAMA_HOST=host.docker.internal:11434 with Docker Desktop")
	}
	if slices.Equal(addresses, here) {
		return doctor.Fine(subject, fmt.Sprintf("starts %s with Ollama at %s (%s)", command, strings.Join(addresses, ", "), e.File))
	}
	differs := fmt.Sprintf("uses Ollama at %s, and this shell %s (%s)", strings.Join(addresses, ", "), strings.Join(here, ", "), e.File)
	if err := a.probe(ctx, c); err != nil {
		return doctor.Failed(subject, fmt.Sprintf("%s; %v", differs, err), reinstall+", which writes the OLLAMA_HOST of this shell into it")
	}
	return doctor.Warned(subject, differs, "if that is not intended, "+reinstall)
}

// isLoopback reports whether an address, as addressesOf has it, is one of the machine itself.
func isLoopback(address string) bool {
	u, err := url.Parse("//" + strings.TrimPrefix(address, "https://"))
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback() || u.Hostname() == "localhost"
}

// seenBy reads the configuration as a server would that an MCP host starts. rest has the
// variables that the host adds by itself.
func (a attached) seenBy(e install.Entry, rest func(string) string) (c config.Config, err error) {
	err = config.Parse(config.Flags(&c), &c, e.Args, func(name string) string {
		if value, ok := e.Env[name]; ok {
			return value
		}
		return rest(name)
	})
	return c, err
}

// probe asks the hosts of a configuration for their version, and returns the error of the
// first that does not answer.
func (a attached) probe(ctx context.Context, c config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for _, spec := range specs(c) {
		spec, _ = spec.Fixed()
		host, err := opener{}.open(spec, netip.Addr{})
		if err != nil {
			return err
		}
		_, err = host.Version(ctx)
		host.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
