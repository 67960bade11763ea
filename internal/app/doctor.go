package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/doctor"
	"ollama-mcp/internal/install"
	"ollama-mcp/internal/terminal"
)

type doctorOptions struct{ json bool }

func (o *doctorOptions) flags(fs *config.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "print the report as JSON")
}

// examine prints problems with the configuration, the hosts and the settings of MCP hosts, and
// their solutions.
func examine(ctx context.Context, args []string, std Stdio) int {
	var c config.Config
	var own doctorOptions
	fs := config.Flags(&c)
	own.flags(fs)
	if done, status := parse("doctor", fs, &c, args, std); done {
		return status
	}
	if fs.NArg() > 0 {
		return complain(std, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	o := doctor.Options{Out: std.Out, JSON: own.json, Style: terminal.StyleOf(std.Out, os.Getenv), Needs: needs(c)}
	o.Findings = slices.Concat(addressFindings(c), serverFindings(c, args), folderFindings(c), listenFindings(c))
	for _, spec := range specs(c) {
		spec, _ = spec.Fixed()
		host, err := opener{}.open(spec, netip.Addr{})
		if err != nil {
			return complain(std, fmt.Errorf("host %s: %w", spec.Name, err))
		}
		defer host.Close()
		if c.NoCloud && backend.IsCloud(host) {
			o.Findings = append(o.Findings, doctor.Warned(spec.Name, "is Ollama's cloud, which --no-cloud forbids; no call goes there", "remove the host, or --no-cloud"))
			continue
		}
		o.Hosts = append(o.Hosts, host)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		if c.NoCloud && !c.Providers[name].Local {
			o.Findings = append(o.Findings, doctor.Fine("provider "+name, "not used and not asked, because of --no-cloud"))
			continue
		}
		host, err := openProvider(name, c.Providers[name], nil)
		if err != nil {
			o.Findings = append(o.Findings, doctor.Failed("provider "+name, err.Error(), "mend its entry in "+c.File))
			continue
		}
		defer host.Close()
		o.Providers = append(o.Providers, host)
	}
	places, err := install.Here()
	if err == nil {
		o.Findings = append(o.Findings, attached{c, places}.findings(ctx, install.Find(places, "ollama-mcp"))...)
	}
	if !doctor.Run(ctx, o) {
		return failure
	}
	return ok
}

// addressFindings say where the addresses of the hosts are from, and what is odd about them.
func addressFindings(c config.Config) (all []doctor.Finding) {
	from := "the default, since nothing says otherwise"
	switch c.HostsFrom {
	case "":
	case "OLLAMA_HOST", config.Variable("host"):
		from = "from " + c.HostsFrom + " of this shell"
	default:
		from = "from " + c.HostsFrom
	}
	all = append(all, doctor.Fine("address", strings.Join(addressesOf(c), ", ")+", "+from))
	for _, h := range c.Hosts {
		for _, path := range []string{"/api", "/v1"} {
			if strings.HasSuffix(strings.TrimRight(h.URL, "/"), path) {
				all = append(all, doctor.Failed("address", h.Name+" ends in "+path, "leave out "+path+": the address of an Ollama server is only its host and port"))
			}
		}
	}
	return all
}

// addressesOf are the addresses of the hosts as Ollama would write them, without passwords.
func addressesOf(c config.Config) (all []string) {
	for _, h := range c.Hosts {
		rest, dns := strings.CutPrefix(h.URL, "dns+")
		address := h.Name
		if u, err := ollama.ParseHost(rest); err == nil {
			u.User = nil
			address = strings.TrimPrefix(u.String(), "http://")
		}
		if dns {
			address += " (every address of that name)"
		}
		all = append(all, address)
	}
	return all
}

// serverFindings say whether the server would start, and of what it would warn.
func serverFindings(c config.Config, args []string) (all []doctor.Finding) {
	for _, warning := range c.Warnings {
		all = append(all, doctor.Warned("configuration", warning, "see docs/options.md, or `ollama-mcp serve --help`"))
	}
	c.Warnings, c.StateDir, c.Listen, c.MetricsAddress = nil, "", nil, "" // nothing is to be created or listened on
	var log bytes.Buffer
	s, err := newService(c, args, &log)
	if err != nil {
		return append(all, doctor.Failed("configuration", "the server does not start: "+err.Error(), "change the option that it names; `ollama-mcp serve --help` explains it"))
	}
	s.engine.Close()
	return all
}

// folderFindings say which folders the server could not write to: it starts all the same, and keeps less.
func folderFindings(c config.Config) (all []doctor.Finding) {
	if c.StateDir != "" {
		if err := writable(c.StateDir, true); err != nil {
			all = append(all, doctor.Warned("state-dir", c.StateDir+": "+err.Error(), "give the server's user the right to write there; until then nothing outlasts a restart"))
		}
	}
	if c.CallLog != "" {
		if err := writable(filepath.Dir(c.CallLog), false); err != nil {
			all = append(all, doctor.Warned("call-log", filepath.Dir(c.CallLog)+": "+err.Error(), "create it, or give the server's user the right to write there; until then calls are not logged"))
		}
	}
	return all
}

// writable returns why no file of some size can be written to a folder, or, if that would be created, to the one in which
// it would be. The file is removed again.
func writable(dir string, created bool) error {
	f, err := os.CreateTemp(dir, ".ollama-mcp.*")
	if above := filepath.Dir(dir); created && above != dir && errors.Is(err, fs.ErrNotExist) {
		return writable(above, true)
	}
	if err == nil {
		_, err = f.Write(make([]byte, 4096)) // which needs room on the disk
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err // without the name of the file
	}
	return err
}

// needs are the settings that name models.
func needs(c config.Config) (all []doctor.Need) {
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		m, short := c.Models[name], strings.TrimSuffix(name, ":latest")
		if m.Try != nil {
			all = append(all, doctor.Need{Setting: "alias " + short, Models: resolve(c, name, nil), Level: doctor.Fail, Effect: "calls for it fail"})
		} else {
			all = append(all, doctor.Need{Setting: "models: " + short, Models: []string{name}, Level: doctor.Warn, Effect: "what the file says of it has no effect"})
		}
		if m.SameAs != nil {
			all = append(all, doctor.Need{Setting: "same_as of " + short, Models: m.SameAs, Level: doctor.Warn, Effect: "nothing replaces the model when no host has it"})
		}
	}
	if len(c.Fallback) > 0 {
		var models []string
		for _, name := range c.Fallback {
			models = append(models, resolve(c, name, nil)...)
		}
		all = append(all, doctor.Need{Setting: "fallback", Models: models, Level: doctor.Warn, Effect: "calls whose model fails have nothing to fall back to"})
	}
	if hasSemanticCache(c) {
		all = append(all, doctor.Need{Setting: "semantic-model", Models: resolve(c, c.SemanticModel, nil), Capability: "embedding", Level: doctor.Warn, Effect: "the semantic cache finds nothing"})
	}
	if c.Guard.Model != "" {
		all = append(all, doctor.Need{Setting: "guard", Models: resolve(c, c.Guard.Model, nil), Capability: "completion", Level: doctor.Fail, Effect: "every answer is withheld"})
	}
	return all
}

// resolve returns the models that a name stands for. above are the aliases that led to it:
// within itself, the name of an alias is that of a model.
func resolve(c config.Config, name string, above []string) (models []string) {
	canonical := backend.CanonicalModel(name)
	try := c.Models[canonical].Try
	if try == nil || slices.Contains(above, canonical) {
		return []string{name}
	}
	for _, next := range try {
		models = append(models, resolve(c, next, append(above, canonical))...)
	}
	return models
}
