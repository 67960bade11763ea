package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaURL names a schema within the compiler. It must be absolute, or it would
// become a path on this machine, and it must have a path, or references within
// the schema would lead to another document.
const schemaURL = "schema:///schema"

// compile compiles a schema that may come from outside: it never follows a
// reference to a file or to the network.
func compile(raw json.RawMessage) (*validate.Schema, error) {
	doc, err := validate.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	c := validate.NewCompiler()
	c.UseLoader(noLoader{})
	engine := new(patterns)
	c.UseRegexpEngine(engine.compile)
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(schemaURL)
	if err != nil {
		return nil, badReference(err)
	}
	engine.compiled = true
	return compiled, nil
}

type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("references to other documents are not followed")
}

// badReference names the reference that leads nowhere, if that is what is wrong
// with the schema.
func badReference(err error) error {
	if e, ok := errors.AsType[*validate.LoadURLError](err); ok {
		return fmt.Errorf("it refers to %q, and only references within the schema are followed, such as \"#/$defs/name\"", relative(e.URL))
	}
	missing := ""
	if e, ok := errors.AsType[*validate.JSONPointerNotFoundError](err); ok {
		missing = e.URL
	}
	if e, ok := errors.AsType[*validate.AnchorNotFoundError](err); ok {
		missing = e.Reference
	}
	if missing != "" {
		return fmt.Errorf("it refers to %q, which is not in it", relative(missing))
	}
	return err
}

// relative returns a location within a schema without schemaURL.
func relative(url string) string {
	return strings.TrimPrefix(strings.TrimPrefix(url, schemaURL), "schema:///")
}
