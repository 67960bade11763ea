package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// made builds and packs a release for this platform alone, in a directory of its own.
func made(t *testing.T) *release {
	t.Helper()
	r, err := newRelease(context.Background(), "v0.1.0", "../..", filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	r.work = t.TempDir()
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		t.Fatal(err)
	}
	ours, err := runnable(platforms)
	if err != nil {
		t.Fatal(err)
	}
	programs, err := r.build(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.pack(t.Context(), programs); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSameCommitGivesTheSameBytesAndAllThatAReleaseHas builds and packs twice, in different
// directories and at different times.
func TestSameCommitGivesTheSameBytesAndAllThatAReleaseHas(t *testing.T) {
	one, two := made(t), made(t)
	list, err := one.sumsOfFiles()
	if err != nil {
		t.Fatal(err)
	}
	again, err := two.sumsOfFiles()
	if err != nil {
		t.Fatal(err)
	}
	if list != again {
		t.Errorf("the first time\n%s\nthe second time\n%s", list, again)
	}
	for _, name := range []string{
		"ollama-mcp_0.1.0_linux_ARCH.tar.gz", "ollama-mcp_0.1.0_linux_ARCH.mcpb", "ollama-mcp_0.1.0_linux_ARCH.deb", "ollama-mcp_0.1.0_linux_ARCH.rpm",
		"ollama-mcp_0.1.0_linux_ARCH.spdx.json", "ollama-mcp_0.1.0_image.tar.gz", "npm-ollama-mcp-ollama-mcp-0.1.0.tgz", "npm-ollama-mcp-ollama-mcp-linux-CPU-0.1.0.tgz",
		"server.json", "gemini-extension.json", "claude-plugin.json", "ollama-mcp.rb",
	} {
		ours, _ := runnable(platforms)
		_, cpu := npmPlatform(ours)
		name = strings.NewReplacer("linux", ours.os, "ARCH", ours.arch, "CPU", cpu).Replace(name)
		if ours.os != "linux" && (strings.HasSuffix(name, ".deb") || strings.HasSuffix(name, ".rpm")) {
			continue
		}
		if !strings.Contains(list, "  "+name+"\n") {
			t.Errorf("%s is missing in\n%s", name, list)
		}
	}
	archiveHasAll(t, one)
	bomNamesAll(t, one)
}

func archiveHasAll(t *testing.T, r *release) {
	t.Helper()
	ours, _ := runnable(platforms)
	packed, err := os.ReadFile(filepath.Join(r.out, "ollama-mcp_0.1.0_"+ours.os+"_"+ours.arch+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(z); ; {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.SplitN(head.Name, "/", 2)[1])
		if !head.ModTime.Equal(r.date.Truncate(time.Second)) {
			t.Errorf("%s is of %v, and the commit of %v", head.Name, head.ModTime, r.date)
		}
	}
	for _, want := range []string{"ollama-mcp", "LICENSE", "THIRD-PARTY-LICENSES.txt", "README.md", "CHANGELOG.md", "man/ollama-mcp.1", "completions/ollama-mcp.bash", "completions/_ollama-mcp", "completions/ollama-mcp.fish", "completions/ollama-mcp.ps1"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not in the archive, which has %v", want, names)
		}
	}
}

func bomNamesAll(t *testing.T, r *release) {
	t.Helper()
	ours, _ := runnable(platforms)
	text, err := os.ReadFile(filepath.Join(r.out, "ollama-mcp_0.1.0_"+ours.os+"_"+ours.arch+".spdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		Packages []struct {
			Name    string
			Licence string `json:"licenseConcluded"`
		}
		Relationships []any
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	licences := make(map[string]string)
	for _, p := range bom.Packages {
		licences[p.Name] = p.Licence
	}
	for name, want := range map[string]string{"ollama-mcp": "MIT", "std": "BSD-3-Clause", "github.com/mark3labs/mcp-go": "MIT", "github.com/spf13/pflag": "BSD-3-Clause"} {
		if licences[name] != want {
			t.Errorf("%s has the licence %q, want %s", name, licences[name], want)
		}
	}
	if len(bom.Relationships) != len(bom.Packages) {
		t.Errorf("%d packages and %d relationships", len(bom.Packages), len(bom.Relationships))
	}
}

func TestLicencesAreToldByTheirWords(t *testing.T) {
	for want, text := range map[string]string{
		"MIT":              "Permission is hereby granted, free of charge,\n to any person obtaining a copy",
		"BSD-3-Clause":     "Redistribution and use in source and binary forms ... Neither the name of",
		"BSD-2-Clause":     "Redistribution and use in source and binary forms, with",
		"Apache-2.0":       "Apache License\n Version 2.0, January 2004",
		"ISC":              "Permission to use, copy, modify, and distribute this software for any purpose",
		"MPL":              "Mozilla Public License Version 2.0",
		"AGPL GPL":         "GNU AFFERO GENERAL PUBLIC LICENSE, and not the GNU General Public License",
		"Apache-2.0 MIT":   "Apache License Version 2.0 and: Permission is hereby granted, free of charge, to any person obtaining a copy",
		"":                 "All rights reserved.",
		"BSD-3-Clause MIT": "Permission is hereby granted, free of charge, to any person obtaining a copy. Redistribution and use in source and binary forms. Neither the name",
	} {
		got := licencesOf(text)
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, want %s", text, got, want)
		}
	}
	for licence, want := range map[string]bool{"MIT": true, "Apache-2.0 AND BSD-3-Clause": true, "MIT AND MPL": false, "AGPL": false, "": false} {
		if got := isAllowed(licence); got != want {
			t.Errorf("%q is allowed: %v, want %v", licence, got, want)
		}
	}
	dir := t.TempDir()
	if _, _, err := licenceIn(dir); err == nil {
		t.Error("a module without a licence is taken")
	}
}

func TestPackingDoesNotDependOnTheDay(t *testing.T) {
	files := []file{{name: "a", data: []byte("x"), exec: true}, {name: "b/c", data: []byte("y")}}
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, pack := range map[string]func([]file, time.Time) ([]byte, error){"tar": tarGz, "zip": zipped} {
		one, err := pack(files, when)
		if err != nil {
			t.Fatal(err)
		}
		two, _ := pack(files, when)
		later, _ := pack(files, when.AddDate(1, 0, 0))
		if !bytes.Equal(one, two) || bytes.Equal(one, later) {
			t.Errorf("%s: the same files at the same time differ, or at another time do not", name)
		}
	}
	packed, _ := zipped(files, when)
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil || z.File[0].Mode().Perm() != 0o755 || z.File[1].Mode().Perm() != 0o644 {
		t.Errorf("the modes in the zip: %v", err)
	}
	dir := t.TempDir()
	packed, _ = tarGz([]file{{name: "../out"}}, when)
	if err := unpackFrom(bytes.NewReader(packed), dir); err == nil {
		t.Error("a file outside its directory was unpacked")
	}
}

func TestReleaseNeedsAChangelogWithItsDate(t *testing.T) {
	dir := t.TempDir()
	r := &release{version: "v0.2.0", root: dir, out: filepath.Join(dir, "dist", "release"), date: time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, changelog), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const rest = "\n- New.\n\n## v0.1.0 – 2026-11-30\n\n- Old.\n"
	write("# Changelog\n\n## v0.2.0 (unreleased)\n" + rest)
	if err := r.checkChangelog(); err != nil {
		t.Errorf("a trial: %v", err)
	}
	r.tagged = true
	if err := r.checkChangelog(); err == nil || !strings.Contains(err.Error(), "make changelog VERSION=v0.2.0") {
		t.Errorf("without a date: %v", err)
	}
	if err := r.dateChangelog(r.date.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if err := r.checkChangelog(); err == nil {
		t.Error("a date in the future is taken")
	}
	if err := r.dateChangelog(r.date); err == nil {
		t.Error("it is dated twice")
	}
	write("# Changelog\n\n## v0.2.0 – 2026-12-01\n" + rest)
	if err := r.checkChangelog(); err != nil {
		t.Fatal(err)
	}
	if notes, err := os.ReadFile(r.out + "-notes.md"); err != nil || string(notes) != "- New.\n" {
		t.Errorf("the notes are %q, %v", notes, err)
	}
	if r.version = "v0.1.0"; r.checkChangelog() != nil {
		t.Error("the last part is not taken")
	}
}

// What targets of make need is installed for root only, which workflows are not.
func TestWorkflowsInstallWhatTheirTargetsNeed(t *testing.T) {
	steps := 0
	for _, name := range []string{"ci.yml", "release.yml"} {
		raw, err := os.ReadFile(filepath.Join("../../.github/workflows", name))
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		for target, first := range map[string]string{"test": "needs", "release-check": "release-needs"} {
			step := regexp.MustCompile(`run: make( .*)? ` + target + `( |\n)`).FindStringIndex(text)
			if step == nil {
				continue
			}
			steps++
			if !regexp.MustCompile(`run: sudo .*make( .*)? ` + first + `( |\n)`).MatchString(text[:step[0]]) {
				t.Errorf("%s runs make %s, and not make %s as root before", name, target, first)
			}
		}
	}
	if steps != 3 {
		t.Errorf("%d steps of the workflows run make, want 3", steps)
	}
}

func TestHomeIsTheSameEverywhere(t *testing.T) {
	h := ourHome()
	if n := len(h.Description); n == 0 || n > 100 {
		t.Errorf("the description has %d characters; the registry allows 100", n)
	}
	if !regexp.MustCompile(`^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$`).MatchString(h.registry()) {
		t.Errorf("%s is no name for the registry", h.registry())
	}
	for name, wants := range map[string][]string{
		"README.md":                     {h.url(), h.Image, h.NPM, h.Formula},
		".github/workflows/release.yml": {"IMAGE: " + h.Image + "\n"},
	} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not have %s, as home.json says", name, want)
			}
		}
		for _, found := range regexp.MustCompile(`github\.com/[\w-]+/ollama-mcp\b|ghcr\.io/[\w/-]+`).FindAllString(string(text), -1) {
			if !strings.HasPrefix("https://"+found, h.url()) && !strings.HasPrefix(found, h.Image) {
				t.Errorf("%s has %s, which is not the home in home.json", name, found)
			}
		}
	}
}
