package backend

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// This file says which models a host does not run itself: an Ollama that is signed in
// passes requests for some of its models on to Ollama's cloud, and answers as if it had
// run them.

// IsCloudName reports whether a name asks for a model in Ollama's cloud, whatever the host
// has installed: x:cloud, x:120b-cloud and x:120b:cloud do. Ollama since 0.18 needs no
// local stub for such a name, so no list of models has to hold it.
func IsCloudName(name string) bool {
	colon := strings.LastIndexByte(name, ':')
	if colon < 0 {
		return false
	}
	tag := strings.ToLower(strings.TrimSpace(name[colon+1:]))
	return tag == "cloud" || strings.HasSuffix(tag, "-cloud") && !strings.Contains(tag, "/")
}

// WithoutLocal returns the canonical name of the model that x:local names: Ollama since
// 0.18 takes it for x, to be run by the host itself. ok is false for any other name.
func WithoutLocal(name string) (model string, ok bool) {
	const suffix = ":local"
	if len(name) <= len(suffix) || !strings.EqualFold(name[len(name)-len(suffix):], suffix) {
		return "", false
	}
	return CanonicalModel(name[:len(name)-len(suffix)]), true
}

// IsListedInCloud reports whether a host that lists a model so passes requests for it on
// to Ollama's cloud.
func IsListedInCloud(m Model) bool {
	return m.RemoteHost != "" || m.RemoteModel != "" || IsCloudName(m.Name)
}

// IsDescribedInCloud reports whether a host that describes a model so does.
func IsDescribedInCloud(info *ModelInfo) bool { return info.RemoteHost != "" || info.RemoteModel != "" }

// IsCloud reports whether a host is Ollama's cloud itself, so that no model of it runs on a
// machine of the user's.
func IsCloud(host Backend) bool {
	h, ok := host.(interface{ IsCloud() bool })
	return ok && h.IsCloud()
}

// RunsInCloud asks a host to describe and to list a model, and reports whether Ollama's
// cloud runs it. It asks nobody where the host or the name says so already. A server that
// answers neither question as an Ollama does is none that could pass requests on.
func RunsInCloud(ctx context.Context, host Backend, model string) (bool, error) {
	if IsCloud(host) || IsCloudName(model) {
		return true, nil
	}
	info, err := host.Show(ctx, model)
	switch {
	case err == nil && IsDescribedInCloud(info):
		return true, nil
	case err != nil && !isNoOllama(err):
		return false, err
	}
	models, err := host.Models(ctx)
	if err != nil && !isNoOllama(err) {
		return false, err
	}
	return slices.ContainsFunc(models, func(m Model) bool {
		return CanonicalModel(m.Name) == CanonicalModel(model) && IsListedInCloud(m)
	}), nil
}

// isNoOllama reports whether a server does not know an endpoint of Ollama's, or has answered
// in full with something else than an Ollama would.
func isNoOllama(err error) bool {
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Class != Server {
		return false
	}
	return failed.Status < 300 && failed.Err == nil || failed.Status >= 400 && IsMisdirected(err)
}
