package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const changelog = "CHANGELOG.md"

// notReleased is the heading of what is to be a version.
func (r *release) notReleased() string { return "## " + r.version + " (unreleased)" }

// dateChangelog gives what is to be released the date of its release.
func (r *release) dateChangelog(day time.Time) error {
	path := filepath.Join(r.root, changelog)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, after, found := strings.Cut(string(text), r.notReleased()+"\n")
	if !found {
		return fmt.Errorf("%s has no heading %q", changelog, r.notReleased())
	}
	return os.WriteFile(path, []byte(before+"## "+r.version+" – "+day.Format(time.DateOnly)+"\n"+after), 0o644)
}

// notes are what the changelog says of the version.
func (r *release) notes() (string, error) {
	text, err := os.ReadFile(filepath.Join(r.root, changelog))
	if err != nil {
		return "", err
	}
	heading := regexp.MustCompile(`(?m)^## ` + regexp.QuoteMeta(r.version) + ` – (\S+)\n`).FindStringSubmatchIndex(string(text))
	if heading == nil {
		return "", fmt.Errorf("%s does not say when %s was released: run `make changelog VERSION=%s`, and commit", changelog, r.version, r.version)
	}
	day, err := time.Parse(time.DateOnly, string(text[heading[2]:heading[3]]))
	if err != nil || day.After(r.date) {
		return "", fmt.Errorf("%s: the date of %s is no day up to that of the commit: %w", changelog, r.version, errors.Join(err, errors.New(r.date.Format(time.DateOnly))))
	}
	part, _, _ := strings.Cut(string(text[heading[1]:]), "\n## ")
	return strings.TrimSpace(part) + "\n", nil
}

// checkChangelog writes the notes of the release beside its files. A commit with the tag of the
// version has to have them; for a trial they may be missing.
func (r *release) checkChangelog() error {
	notes, err := r.notes()
	if err != nil && !r.tagged {
		fmt.Println("no release yet:", err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(r.out+"-notes.md", []byte(notes), 0o644)
}
