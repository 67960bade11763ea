// Command llama-server stands in for the programs of llama.cpp that Ollama runs: under this
// name for the one that runs models, and as llama-quantize for the one that checks them.
// The file script.json beside it says how it behaves; see package engine.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ollama/ollama/fs/ggml"

	"ollama-mcp/internal/e2e/engine"
	"ollama-mcp/internal/e2e/tinymodels"
)

func main() {
	run := serve
	if filepath.Base(os.Args[0]) == "llama-quantize" {
		run = quantize
	}
	if err := run(os.Args[1:]); err != nil {
		exit("error: " + err.Error())
	}
}

// exit ends the program as a failing llama-server does.
func exit(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}

// serve answers for the model of --model on --port. Without a port Ollama only asks for
// devices, of which there are none.
func serve(args []string) error {
	port := valueOf(args, "--port")
	if port == "" {
		return nil
	}
	model, err := modelIn(valueOf(args, "--model"))
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	script := filepath.Join(filepath.Dir(self), engine.ScriptFile)
	all, _ := strconv.Atoi(valueOf(args, "-c"))
	callers, _ := strconv.Atoi(valueOf(args, "-np"))
	e := &engine.Engine{
		Model: model, Context: all / max(callers, 1),
		Script: func() (engine.Script, error) { return engine.ReadScript(script) },
		Exit:   exit,
	}
	api, err := e.Start()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	return http.Serve(l, api)
}

// quantize copies a model: llama-quantize [OPTION] IN OUT TYPE.
func quantize(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: llama-quantize [OPTION] IN OUT TYPE")
	}
	args = args[len(args)-3:]
	in, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(args[1])
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func valueOf(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// modelIn tells which of the tiny models a file holds.
func modelIn(path string) (tinymodels.Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return tinymodels.Model{}, err
	}
	defer f.Close()
	file, err := ggml.Decode(f, 0)
	if err != nil {
		return tinymodels.Model{}, err
	}
	name := file.KV().String("general.name")
	m, ok := tinymodels.ByName(name)
	if !ok {
		return tinymodels.Model{}, fmt.Errorf("%q is none of the tiny models", name)
	}
	return m, nil
}
