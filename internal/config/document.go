package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document reads YAML with at most one document. Its errors are of type *lineError.
func document(data []byte, root value) error {
	for i, line := range bytes.Split(data, []byte("\n")) {
		if !utf8.Valid(line) || bytes.ContainsFunc(line, isUnseen) {
			return &lineError{i + 1, errors.New("contains control characters, or is not UTF-8")}
		}
	}
	var doc, next yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&doc)
	if err == io.EOF {
		return nil
	}
	if err == nil {
		if err = decoder.Decode(&next); err == nil {
			return &lineError{next.Line, errors.New("a second document begins; only one is read")}
		}
	}
	if err != io.EOF {
		return syntaxError(data, err)
	}
	return atLine(doc.Line, "the document", read(doc.Content[0], root))
}

func isUnseen(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\r' }

var (
	yamlError     = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// syntaxError finds the line of an error of the library. The library names no line if it is
// the first, counts lines from 0 in errors of its parser but not of its scanner, and does not
// say where an unknown anchor is used.
func syntaxError(data []byte, err error) error {
	parts := yamlError.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if parts == nil {
		return &lineError{1, err}
	}
	line, message := 1, parts[2]
	if n, err := strconv.Atoi(parts[1]); err == nil {
		line = n
		if strings.HasPrefix(message, "did not find expected") {
			line = min(line+1, 1+bytes.Count(data, []byte("\n")))
		}
	}
	if anchor := unknownAnchor.FindStringSubmatch(message); anchor != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+anchor[1]))
		line = 1 + bytes.Count(before, []byte("\n"))
	}
	if message == "found character that cannot start any token" {
		lines := bytes.Split(data, []byte("\n")) // to YAML there may be more, such as behind a carriage return
		if line <= len(lines) && bytes.ContainsRune(indent(lines[line-1]), '\t') {
			message = "is indented with a tab; YAML wants spaces"
		}
	}
	return &lineError{line, errors.New(message)}
}

// indent is what stands before the text of a line.
func indent(line []byte) []byte { return line[:len(line)-len(bytes.TrimLeft(line, " \t"))] }
