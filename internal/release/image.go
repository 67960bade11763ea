package main

import (
	"bytes"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nobody is the user that the image runs as.
const nobody = "65532:65532"

// image makes the container image for both architectures, as a directory in the OCI layout
// packed into one file: skopeo, crane and podman push it, and docker loads it.
func (r *release) image(programs []program) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range programs {
		if p.os != "linux" {
			continue
		}
		image, err := r.imageOf(p)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.os, Architecture: p.arch}},
		})
	}
	dir := filepath.Join(r.work, "image")
	written, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := written.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.number()})); err != nil {
		return err
	}
	var files []file
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, file{name: filepath.ToSlash(name), data: data})
		return err
	})
	if err != nil {
		return err
	}
	sortFiles(files)
	packed, err := tarGz(files, r.date)
	return r.write("ollama-mcp_"+r.number()+"_image.tar.gz", packed, err)
}

// imageOf is the image for one architecture: the program and the certificates of authorities,
// and nothing else.
func (r *release) imageOf(p program) (v1.Image, error) {
	data, err := os.ReadFile(p.file)
	if err != nil {
		return nil, err
	}
	packed, err := tarGz([]file{
		{name: "etc/ssl/certs/ca-certificates.crt", data: authorities()},
		{name: "usr/bin/ollama-mcp", data: data, exec: true},
	}, r.date)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "release", Created: v1.Time{Time: r.date}}}); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = p.os, p.arch, v1.Time{Time: r.date}
	config.Config.Entrypoint, config.Config.User = []string{"/usr/bin/ollama-mcp"}, nobody
	config.Config.Labels = map[string]string{
		"io.modelcontextprotocol.server.name": r.registry(),
		"org.opencontainers.image.title":      r.Title, "org.opencontainers.image.description": r.Description,
		"org.opencontainers.image.source": r.url(), "org.opencontainers.image.version": r.number(),
		"org.opencontainers.image.revision": r.commit, "org.opencontainers.image.licenses": "MIT",
		"org.opencontainers.image.created": r.date.Format(time.RFC3339),
	}
	return mutate.ConfigFile(image, config)
}

// authorities are the certificates that Mozilla trusts without conditions, since an image from
// scratch has none for providers.
func authorities() []byte {
	var b strings.Builder
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // cannot fail
		}
	}
	return []byte(b.String())
}
