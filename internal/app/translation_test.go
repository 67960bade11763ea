package app

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is what two texts in different languages have in common, by section.
type page []section

type section struct {
	heading string
	level   int
	blocks  []string       // of code
	code    map[string]int // spans of code in the text, and how often
	links   map[string]int // to other files and sites
}

var (
	codeSpan = regexp.MustCompile("`[^`]+`")
	linkTo   = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
)

func pageOf(text string) (p page) {
	p = page{{heading: "the beginning"}}
	var prose, block strings.Builder
	inBlock := false
	end := func() {
		s := &p[len(p)-1]
		s.code, s.links = make(map[string]int), make(map[string]int)
		for _, span := range codeSpan.FindAllString(prose.String(), -1) {
			s.code[span]++
		}
		for _, found := range linkTo.FindAllStringSubmatch(prose.String(), -1) {
			s.links[found[1]]++
		}
		prose.Reset()
	}
	for line := range strings.Lines(text) {
		hashes := len(line) - len(strings.TrimLeft(line, "#"))
		switch {
		case strings.HasPrefix(line, "```"):
			if inBlock = !inBlock; !inBlock {
				p[len(p)-1].blocks = append(p[len(p)-1].blocks, block.String())
				block.Reset()
			}
			block.WriteString(line)
		case inBlock:
			block.WriteString(line)
		case strings.HasPrefix(line, "      "): // a line of a log in a list
			p[len(p)-1].blocks = append(p[len(p)-1].blocks, line)
		case hashes > 0 && strings.HasPrefix(line[hashes:], " "):
			end()
			p = append(p, section{heading: strings.TrimSpace(line), level: hashes})
		default:
			prose.WriteString(strings.TrimSuffix(line, "\n") + " ")
		}
	}
	end()
	return p
}

// lacks lists what a translation lacks, or has too much.
func (p page) lacks(translation page) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for i := range max(len(p), len(translation)) {
		switch {
		case i >= len(translation):
			say("it has no section for %q", p[i].heading)
			continue
		case i >= len(p):
			say("its section %q has no counterpart", translation[i].heading)
			continue
		}
		is, want := translation[i], p[i]
		at := fmt.Sprintf("section %q (%q)", is.heading, want.heading)
		if is.level != want.level {
			say("%s has level %d, want %d", at, is.level, want.level)
		}
		for n := range max(len(is.blocks), len(want.blocks)) {
			switch {
			case n >= len(is.blocks):
				say("%s lacks the block of code\n%s", at, want.blocks[n])
			case n >= len(want.blocks):
				say("%s has a block of code too many\n%s", at, is.blocks[n])
			case is.blocks[n] != want.blocks[n]:
				say("%s has a block of code\n%swant\n%s", at, is.blocks[n], want.blocks[n])
			}
		}
		for _, kind := range []struct {
			name     string
			is, want map[string]int
		}{{"", is.code, want.code}, {"the link to ", is.links, want.links}} {
			for _, what := range slices.Sorted(maps.Keys(kind.want)) {
				if kind.is[what] == 0 {
					say("%s lacks %s%s", at, kind.name, what)
				}
			}
			for _, what := range slices.Sorted(maps.Keys(kind.is)) {
				if kind.want[what] == 0 {
					say("%s has %s%s, which the original has not", at, kind.name, what)
				}
			}
		}
	}
	return all
}

// TestChineseREADMEHasWhatTheEnglishHas compares headings, blocks of code, spans of code and links.
// Whether the words say the same is for people to judge.
func TestChineseREADMEHasWhatTheEnglishHas(t *testing.T) {
	english := pageOf(strings.Replace(read(t, "README.md"), "[中文](README.zh.md)", "", 1))
	chinese := pageOf(strings.Replace(read(t, "README.zh.md"), "[English](README.md)", "", 1))
	for _, lack := range english.lacks(chinese) {
		t.Errorf("README.zh.md: %s", lack)
	}
}

func TestTranslationThatLacksSomethingIsFound(t *testing.T) {
	original := pageOf("# A\n`one` and [two](two.md)\n```sh\nthree\n```\n## B\n`four\nfive`\n      six\n")
	for translation, want := range map[string]string{
		"# 甲\n[二](two.md)与`one`\n```sh\nthree\n```\n## 乙\n`four\nfive`\n      six\n":         "",
		"# 甲\n[二](two.md)\n```sh\nthree\n```\n## 乙\n`four five`\n      six\n":                "lacks `one`",
		"# 甲\n[二](2.md)与`one`\n```sh\nthree\n```\n## 乙\n`four five`\n      six\n":            "lacks the link to two.md",
		"# 甲\n[二](two.md)与`one`\n```sh\n三\n```\n## 乙\n`four five`\n      six\n":              "want\n```sh\nthree",
		"# 甲\n[二](two.md)与`one`\n## 乙\n`four five`\n      six\n":                             "lacks the block",
		"# 甲\n[二](two.md)与`one`\n```sh\nthree\n```\n### 乙\n`four five`\n      six\n":         "level 3, want 2",
		"# 甲\n[二](two.md)与`one`\n```sh\nthree\n```\n":                                        "no section for \"## B\"",
		"# 甲\n[二](two.md)与`one`\n```sh\nthree\n```\n## 乙\n`four five`\n      six\n# 丙\n":     "no counterpart",
		"# 甲\n[二](two.md)与`one``x`\n```sh\nthree\n```\n## 乙\n`four five`\n      six\n":       "has `x`, which",
		"# 甲\n[二](two.md)与`one`\n```sh\nthree\n```\n## 乙\n`four five`\n      six\n      7\n": "too many",
	} {
		got := strings.Join(original.lacks(pageOf(translation)), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", translation, got, want)
		}
	}
}
