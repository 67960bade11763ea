package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// module is one that is linked into the program.
type module struct {
	path, version string
	licence       string // as SPDX names it
	text          string // of the licence, and of the notice beside it
}

// allowed are the licences that what is linked may have, one or several of them: they ask for no
// more than that their text comes along.
var allowed = []string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC"}

// isAllowed reports whether all licences in an expression such as "Apache-2.0 AND MIT" are allowed.
func isAllowed(licence string) bool {
	for one := range strings.SplitSeq(licence, " AND ") {
		if !slices.Contains(allowed, one) {
			return false
		}
	}
	return true
}

// linked are the modules in a program, and the standard library, with their licences.
func (r *release) linked(info *debug.BuildInfo) (all []module, err error) {
	dirs, err := r.moduleDirs()
	if err != nil {
		return nil, err
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	std := module{path: "std", version: strings.TrimPrefix(info.GoVersion, "go")}
	if std.licence, std.text, err = licenceIn(strings.TrimSpace(string(goroot))); err != nil {
		return nil, fmt.Errorf("the standard library: %w", err)
	}
	all = append(all, std)
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		m := module{path: dep.Path, version: dep.Version}
		dir := dirs[m.path+"@"+m.version]
		if dir == "" {
			return nil, fmt.Errorf("%s@%s is not in the module cache", m.path, m.version)
		}
		if m.licence, m.text, err = licenceIn(dir); err != nil {
			return nil, fmt.Errorf("%s: %w", m.path, err)
		}
		if !isAllowed(m.licence) {
			return nil, fmt.Errorf("%s has the licence %s, which is not among those allowed", m.path, m.licence)
		}
		all = append(all, m)
	}
	return all, nil
}

// moduleDirs are the directories of the modules of the repository, by path and version, as far
// as they are in the module cache. What is linked has been built from there.
func (r *release) moduleDirs() (map[string]string, error) {
	if r.dirs != nil {
		return r.dirs, nil
	}
	cmd := exec.CommandContext(context.Background(), "go", "list", "-m", "-f", "{{.Path}}@{{.Version}}\t{{.Dir}}", "all")
	cmd.Dir = r.root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m all: %w", err)
	}
	r.dirs = make(map[string]string)
	for line := range strings.Lines(string(out)) {
		module, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		r.dirs[module] = dir
	}
	return r.dirs, nil
}

// licenceIn reads the licence of what is in a directory.
func licenceIn(dir string) (name, text string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", "", err
	}
	var found []string
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		isLicence := strings.HasPrefix(upper, "LICEN") || strings.HasPrefix(upper, "COPYING")
		if e.IsDir() || !isLicence && !strings.HasPrefix(upper, "NOTICE") || strings.HasSuffix(upper, ".GO") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", "", err
		}
		text += strings.TrimSpace(string(data)) + "\n\n"
		if isLicence {
			found = append(found, licencesOf(string(data))...)
		}
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) == 0 {
		return "", "", fmt.Errorf("no known licence in %s", dir)
	}
	return strings.Join(found, " AND "), text, nil
}

// licencesOf are the licences in a text, by sentences that only they have.
func licencesOf(text string) (names []string) {
	text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
	has := func(sentence string) bool { return strings.Contains(text, sentence) }
	if has("apache license") && has("version 2.0") {
		names = append(names, "Apache-2.0")
	}
	if has("permission is hereby granted, free of charge, to any person obtaining a copy") {
		names = append(names, "MIT")
	}
	if has("permission to use, copy, modify, and/or distribute this software for any purpose") || has("permission to use, copy, modify, and distribute this software for any purpose") {
		names = append(names, "ISC")
	}
	if has("redistribution and use in source and binary forms") {
		if has("neither the name") || has("may not be used to endorse") {
			names = append(names, "BSD-3-Clause")
		} else {
			names = append(names, "BSD-2-Clause")
		}
	}
	for sentence, name := range map[string]string{"mozilla public license": "MPL", "gnu general public license": "GPL", "gnu lesser general public license": "LGPL", "gnu affero general public license": "AGPL"} {
		if has(sentence) && !slices.Contains(names, "Apache-2.0") {
			names = append(names, name)
		}
	}
	return names
}

// everLinked are the modules of all programs: some are linked on one system only.
func (r *release) everLinked(programs []program) ([]module, error) {
	var all []module
	for _, p := range programs {
		info, err := buildinfo.ReadFile(p.file)
		if err != nil {
			return nil, err
		}
		some, err := r.linked(info)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.path, b.path) })
	return slices.CompactFunc(all, func(a, b module) bool { return a.path == b.path }), nil
}

// thirdParty is the text of all licences of what is linked.
func (r *release) thirdParty(programs []program) ([]byte, error) {
	all, err := r.everLinked(programs)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("ollama-mcp contains the following works of others.\n")
	for _, m := range all {
		fmt.Fprintf(&b, "\n%s\n%s %s (%s)\n\n%s", strings.Repeat("=", 78), m.path, m.version, m.licence, m.text)
	}
	return []byte(b.String()), nil
}

// boms writes the bill of materials of each program, in the form of SPDX 2.3. That of the
// Linux programs is that of the image too, which holds nothing else but certificates.
func (r *release) boms(programs []program) error {
	for _, p := range programs {
		info, err := buildinfo.ReadFile(p.file)
		if err != nil {
			return err
		}
		modules, err := r.linked(info)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p.file)
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(r.spdx(p, modules, fmt.Sprintf("%x", sha256.Sum256(data))), "", "  ")
		if err := r.write(r.stem(p)+".spdx.json", append(text, '\n'), err); err != nil {
			return err
		}
	}
	return nil
}

type object = map[string]any

func (r *release) spdx(p program, modules []module, sum string) object {
	const root = "SPDXRef-Package-ollama-mcp"
	packages := []object{{
		"SPDXID": root, "name": r.Name, "versionInfo": r.version, "downloadLocation": r.url(), "filesAnalyzed": false,
		"licenseConcluded": "MIT", "licenseDeclared": "MIT", "copyrightText": "NOASSERTION", "primaryPackagePurpose": "APPLICATION",
		"checksums": []object{{"algorithm": "SHA256", "checksumValue": sum}},
	}}
	relations := []object{{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": root}}
	for i, m := range modules {
		id := fmt.Sprintf("SPDXRef-Package-%d", i)
		purl := "pkg:golang/" + m.path + "@" + m.version
		packages = append(packages, object{
			"SPDXID": id, "name": m.path, "versionInfo": m.version, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
			"licenseConcluded": m.licence, "licenseDeclared": m.licence, "copyrightText": "NOASSERTION",
			"externalRefs": []object{{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}},
		})
		relations = append(relations, object{"spdxElementId": root, "relationshipType": "DEPENDS_ON", "relatedSpdxElement": id})
	}
	return object{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
		"name":              fmt.Sprintf("ollama-mcp %s for %s/%s", r.version, p.os, p.arch),
		"documentNamespace": fmt.Sprintf("%s/spdx/%s/%s-%s-%s", r.url(), r.version, p.os, p.arch, sum[:16]),
		"creationInfo":      object{"created": r.date.Format(time.RFC3339), "creators": []string{"Tool: ollama-mcp-release"}},
		"packages":          packages, "relationships": relations,
	}
}
