package jsonrpc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"ollama-mcp/internal/jsonrpc"
)

func FuzzStringIsAppendedAsMarshalWritesIt(f *testing.F) {
	for c := range rune(0x100) {
		f.Add("seven b" + string(c) + string([]byte{byte(c)}) + " and more than eight")
	}
	for _, text := range []string{
		"", "a", "exactly8", "exactly8exactly8", "\"\\<>&\b\f\n\r\t\v\x00\x1f\x7f",
		"high and low: ~\x7f\x80 !", "\u2028\u2029\ufffd", "\xe2\x80", "\xed\xa0\x80", "日本語 — “quoted” 😀",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := jsonrpc.AppendString([]byte("before"), text); string(got) != "before"+string(want) {
			t.Errorf("%q becomes\n%s, want\n%s", text, got[len("before"):], want)
		}
	})
}

func BenchmarkString(b *testing.B) {
	for name, text := range map[string]string{
		"words": strings.Repeat("word ", 1600),
		"prose": strings.Repeat("The fox said \"no\" to the dog.\n- Then it slept, and dreamt of the moon.\n", 112),
		"多":     strings.Repeat("语言模型", 667),
	} {
		b.Run("append/"+name, func(b *testing.B) {
			line := make([]byte, 0, 2*len(text))
			for b.Loop() {
				line = jsonrpc.AppendString(line[:0], text)
			}
		})
		b.Run("marshal/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := json.Marshal(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
