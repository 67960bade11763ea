package manage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// Blueprint is a model to make: of another one, or of a file.
type Blueprint struct {
	Name      string
	From      string // model that it is made of; "" for a file
	File      File   // that it is made of; nil for a model
	FileName  string // for messages
	Size      int64  // of the file, in bytes
	Overwrite bool   // a model of that name may be replaced

	System, Template, Quantize string
	Parameters                 map[string]any
	Messages                   []backend.ModelMessage
}

// File is a file in the format GGUF.
type File interface {
	io.Reader
	io.ReaderAt
}

// Create makes a model on the host of that name, or else on all hosts that have the one that it
// is made of; of a file, on all hosts.
func (m *Manager) Create(ctx context.Context, b Blueprint, host string, progress *Progress) ([]Outcome, error) {
	if err := checkName("model", b.Name); err != nil {
		return nil, err
	}
	switch {
	case b.From == "" && b.File == nil:
		return nil, fault.Invalidf(`one of the arguments "from" and "file" is needed: a model to make it of, or a GGUF file`)
	case b.From != "" && b.File != nil:
		return nil, fault.Invalidf(`the arguments "from" and "file" exclude each other`)
	}
	req := &backend.CreateRequest{
		Model: b.Name, From: b.From, System: b.System, Template: b.Template, Quantize: b.Quantize,
		Parameters: b.Parameters, Messages: b.Messages,
	}
	build := func(h Host) (string, error) {
		if err := m.vacant(ctx, h, b.Name, b.Overwrite); err != nil {
			return "", err
		}
		return "", create(ctx, h, req, progress)
	}
	if b.File == nil {
		if err := checkName("from", b.From); err != nil {
			return nil, err
		}
		// A host pulls a base that it does not have, so only those that have it are asked.
		return m.onHolders(ctx, b.From, host, build)
	}
	hosts, err := m.managed(host)
	if err != nil {
		return nil, err
	}
	digest, err := b.digest(ctx, progress)
	if err != nil {
		return nil, err
	}
	req.Files = map[string]string{"model.gguf": digest}
	return settle(m.work(ctx, hosts, func(h Host) (string, error) {
		if err := b.send(ctx, h, digest, progress); err != nil {
			return "", err
		}
		return build(h)
	}))
}

// digest checks that the file is a GGUF, and adds it up.
func (b *Blueprint) digest(ctx context.Context, progress *Progress) (string, error) {
	progress.tell("this server", backend.Step{Status: "reading " + b.FileName})
	magic := make([]byte, 4)
	if _, err := b.File.ReadAt(magic, 0); err != nil && err != io.EOF {
		return "", fault.Invalidf("argument \"file\": %s cannot be read: %v", b.FileName, err)
	}
	if string(magic) != "GGUF" {
		return "", &fault.Error{
			Code: fault.InvalidArgument, Message: fmt.Sprintf("argument \"file\": %s is no GGUF", b.FileName),
			Hint: "convert the model to GGUF first, for example with llama.cpp",
		}
	}
	if err := checkGGUF(b.File, b.Size); err != nil {
		return "", &fault.Error{
			Code: fault.InvalidArgument, Message: fmt.Sprintf("argument \"file\": %s is damaged: %v", b.FileName, err), Hint: "download it again",
		}
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, contextReader{ctx, io.NewSectionReader(b.File, 0, b.Size)}); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// send gives a host the file, unless it has it.
func (b *Blueprint) send(ctx context.Context, h Host, digest string, progress *Progress) error {
	has, err := h.HasBlob(ctx, digest)
	if err != nil || has {
		return err
	}
	sent := int64(0)
	reader := contextReader{ctx, io.NewSectionReader(b.File, 0, b.Size)}
	return h.SendBlob(ctx, digest, readerFunc(func(p []byte) (int, error) {
		n, err := reader.Read(p)
		sent += int64(n)
		progress.tell(h.Name(), backend.Step{Status: "sending", Digest: digest, Completed: sent, Total: b.Size})
		return n, err
	}), b.Size)
}

func create(ctx context.Context, h Host, req *backend.CreateRequest, progress *Progress) error {
	return untilSilent(ctx, h, func(ctx context.Context, heard func()) error {
		return h.Create(ctx, req, func(s backend.Step) {
			heard()
			s.Digest = "" // parts of a model that is made are not downloaded
			progress.tell(h.Name(), s)
		})
	})
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
