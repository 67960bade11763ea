package install

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// texts of TOML with all that it has.
var tomlTexts = []string{
	"", "# nothing\n", "a = 1\nb.c = \"x\\ty\"\nb.d = 'y'\n", "[a]\nx = 1\n[a.b]\ny = [1, [2.5, \"z\"], { q = 07:32:00 }]\n",
	"[[l]]\nx = 1\n[l.sub]\ny = true\n[[l]]\nx = 0x10\n[[l.m]]\n[[l.m]]\nz = inf\n", "a = { b.c = 1, b.d = {}, \"x y\" = [] }\n",
	"[a.b]\nx = 1\n[a]\ny = 2\n", "d = 1979-05-27T07:32:00Z\nm = \"\"\"\none\ntwo \\\n three\"\"\"\n", "[\"\"]\n\"\" = 1_000\n",
}

// alike reports whether a value that was parsed here is what the whole library reads. Numbers but
// small ones, and dates, are texts here.
func alike(ours, theirs any) bool {
	switch theirs := theirs.(type) {
	case map[string]any:
		o, ok := ours.(map[string]any)
		if !ok || len(o) != len(theirs) {
			return false
		}
		for name, value := range theirs {
			if has, ok := o[name]; !ok || !alike(has, value) {
				return false
			}
		}
		return true
	case []any:
		list := reflect.ValueOf(ours)
		if list.Kind() != reflect.Slice || list.Len() != len(theirs) {
			return false
		}
		for i, value := range theirs {
			if !alike(list.Index(i).Interface(), value) {
				return false
			}
		}
		return true
	case string, bool:
		return ours == theirs
	}
	if _, isText := ours.(tomlScalar); isText {
		return true
	}
	return ours == theirs
}

// FuzzTOML compares with the whole library, of which the program only has the parser.
func FuzzTOML(f *testing.F) {
	for _, text := range tomlTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want map[string]any
		if toml.Unmarshal([]byte(text), &want) != nil {
			return
		}
		if got, err := (tomlFormat{}).parse([]byte(text)); err != nil || !alike(got, want) && len(want) > 0 {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	})
}

func TestBrokenTOMLIsRefusedWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1\na = 2\n":                 `line 2: "a" is there twice`,
		"[a]\nx = 1\n\n[a]\n":            `line 4: the table "a" is there twice`,
		"a = 1\n[a.b]\n":                 `line 2: "a" is no table`,
		"a = {}\n[a]\n":                  `line 2: the table "a" is there twice`,
		"a = { b = 1, b = 2 }\n":         `line 1: "b" is there twice`,
		"[a]\n[[a]]\n":                   `line 2: "a" is no list of tables`,
		"[a.b]\n[a]\nb.c = 1\n":          `line 3: the table "b" is complete already`,
		"x = 1\n[t]\ny = \n":             "line 3, column 5",
		"x = [[1, 2], { c = 1, c = 2}]":  `line 1: "c" is there twice`,
		"a.b = 1\na.b.c = 2\n":           `line 2: "b" is no table`,
		"a = [1]\n[a.b]\n":               `line 2: "a" is no table`,
		"[[a]]\n[[a.b]]\n[a.b]\nx = 1\n": `line 3: the table "a.b" is there twice`,
	} {
		_, err := (tomlFormat{}).parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
