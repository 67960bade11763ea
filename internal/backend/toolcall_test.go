package backend

import (
	"encoding/json"
	"testing"
)

func TestToolStaysAsItCameButForWhatIsMissing(t *testing.T) {
	for raw, want := range map[string]string{
		`{"type":"function","function":{"name":"a","strict":true,"parameters":{"type":"object","$defs":{"n":{"minimum":1234567890123456789}},"properties":{"x":true,"y":{"oneOf":[{"$ref":"#/$defs/n"}],"required":["z"]}}}},"cache_control":{}}`: "",
		`{"function":{"name":"a"}}`:                                                                           `{"function":{"name":"a","parameters":{"properties":{},"type":"object"}},"type":"function"}`,
		`{"type":"function","function":{"name":"a","parameters":null}}`:                                       `{"function":{"name":"a","parameters":{"properties":{},"type":"object"}},"type":"function"}`,
		`{"type":"function","function":{"name":"a","parameters":{}}}`:                                         `{"function":{"name":"a","parameters":{"properties":{},"type":"object"}},"type":"function"}`,
		`{"type":null,"function":{"name":"a","parameters":{"properties":{"z":{},"a":{}}}}}`:                   `{"function":{"name":"a","parameters":{"properties":{"z":{},"a":{}},"type":"object"}},"type":"function"}`,
		`{"type":"function","function":{"name":"a","parameters":{"$ref":"#/x"}}}`:                             "",
		`{"type":"function","function":{"name":"a","parameters":{"type":["object","null"],"properties":{}}}}`: "",
		`{"type":"web_search"}`: "",
	} {
		var tool Tool
		if err := json.Unmarshal([]byte(raw), &tool); err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if want == "" {
			want = raw
		}
		got, err := json.Marshal(tool)
		if err != nil || string(got) != want {
			t.Errorf("%s\ngot  %s, %v\nwant %s", raw, got, err, want)
		}
	}
}

func TestToolCallGoesThroughDigitByDigit(t *testing.T) {
	for raw, want := range map[string]string{
		`{"id":"x","function":{"index":1,"name":"a","arguments":{"id":1234567890123456789,"b":1.10,"a":null}}}`:                          "",
		`{"id":"x","function":{"index":0,"name":"a","arguments":{},"parsed":1},"extra_content":{"google":{"thought_signature":"c2ln"}}}`: "",
		`{"id":"x","type":"function","function":{"name":"a","arguments":"{\"id\": 1234567890123456789}"}}`:                               `{"id":"x","function":{"index":0,"name":"a","arguments":{"id":1234567890123456789}}}`,
		`{"id":12,"index":3,"function":{"name":"a"}}`:                                                                                    `{"id":"12","function":{"index":0,"name":"a","arguments":{}},"index":3}`,
		`{"type":"custom","function":{"name":"a","arguments":null}}`:                                                                     `{"function":{"index":0,"name":"a","arguments":{}},"type":"custom"}`,
		`{"id":"x","function":{"name":"a","arguments":[]}}`:                                                                              `{"id":"x","function":{"index":0,"name":"a","arguments":{}}}`,
		`{"id":null,"function":{"name":"a","arguments":"\"{}\""}}`:                                                                       `{"function":{"index":0,"name":"a","arguments":{}}}`,
	} {
		var call ToolCall
		if err := json.Unmarshal([]byte(raw), &call); err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if want == "" {
			want = raw
		}
		for range 2 { // the second time as it comes back
			got, err := json.Marshal(call)
			if err != nil || string(got) != want {
				t.Errorf("%s\ngot  %s, %v\nwant %s", raw, got, err, want)
			}
			call = ToolCall{}
			if err := json.Unmarshal(got, &call); err != nil {
				t.Errorf("%s: %v", got, err)
			}
		}
	}
	for _, raw := range []string{`{"function":{"name":"a","arguments":[1]}}`, `{"function":{"name":"a","arguments":"x"}}`, `{"function":7}`, `[]`} {
		if err := json.Unmarshal([]byte(raw), new(ToolCall)); err == nil {
			t.Errorf("%s was taken", raw)
		}
	}
}

func FuzzToolCall(f *testing.F) {
	f.Add(`{"id":"x","function":{"index":1,"name":"a","arguments":{"id":1234567890123456789},"y":1},"x":[1]}`)
	f.Add(`{"id":7,"function":{"arguments":"{\"a\":1}"},"type":"function"}`)
	f.Add(`{"function":{"arguments":{"a":"<\u2028"}}}`)
	f.Fuzz(func(t *testing.T, raw string) {
		var call, again ToolCall
		if json.Unmarshal([]byte(raw), &call) != nil {
			return
		}
		once, err := json.Marshal(call)
		if err != nil || json.Unmarshal(once, &again) != nil {
			t.Fatalf("%s: written as %s, %v", raw, once, err)
		}
		twice, err := json.Marshal(again)
		if err != nil || string(twice) != string(once) {
			t.Fatalf("%s: written as %s, and after that as %s, %v", raw, once, twice, err)
		}
	})
}
