package server

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/jsonrpc"
)

func TestCallIsHandedOverWithoutItsArguments(t *testing.T) {
	for _, tt := range []struct{ line, brief, arguments string }{
		{`{"params":{"name":"a","arguments":{"b":[1,"}"]},"x":1}}`, `{"params":{"name":"a","arguments":null,"x":1}}`, `{"b":[1,"}"]}`},
		{`{ "params" : { "arguments" : "\\\"}" } }`, `{ "params" : { "arguments" : null} }`, `"\\\"}" `},
		{`{"params":{"name":"arguments","x":{"arguments":1}}}`, `{"params":{"name":"arguments","x":{"arguments":1}}}`, ""},
		{`{"arguments":{},"params":{}}`, `{"arguments":{},"params":{}}`, ""},
		{`{"params":[{"arguments":{}}]}`, `{"params":[{"arguments":{}}]}`, ""},
		{`{"params":{"arguments":{]}}`, `{"params":{"arguments":{]}}`, ""},
		{`{"params":{"arguments":1e999}}`, `{"params":{"arguments":1e999}}`, ""},
	} {
		m := incoming{Message: jsonrpc.Message{Method: "tools/call", Line: []byte(tt.line)}}
		m.split()
		if string(m.brief) != tt.brief || string(m.arguments) != tt.arguments {
			t.Errorf("%s: got %s and %q", tt.line, m.brief, m.arguments)
		}
	}
}

func TestCallIsHandedOverWithoutAMetaThatIsOnlyItsProgressToken(t *testing.T) {
	const before, after = `{"params":{"arguments":{},"_meta":`, `,"name":"a"}}`
	for _, tt := range []struct {
		meta, token string
		taken       bool
	}{
		{`{"progressToken":7}`, `7`, true},
		{`{"progressToken":9007199254740993}`, `9007199254740993`, true},
		{"{\n \"progressToken\" :\t\"a, \\\"b\" }", `"a, \"b"`, true},
		{`{"progressToken":"progressToken"}`, `"progressToken"`, false}, // need not be
		{`{"progressToken":7,"traceparent":"x"}`, `7`, false},
		{`{"traceparent":"x","progressToken":7}`, `7`, false},
		{`{"ProgressToken":7}`, `7`, false}, // refused, as doubtful
		{`{"progressToken":7,"progressToken":8}`, `8`, false},
		{`{"progressToken":null}`, `null`, false},
		{`{"progressToken":tru}`, `tru`, false}, // no JSON, which mcp-go explains
		{`{"progressToken":7 8}`, `7 8`, false},
		{`{}`, ``, false},
		{`null`, ``, false},
	} {
		line := before + tt.meta + after
		m := incoming{Message: jsonrpc.Message{Method: "tools/call", Line: []byte(line)}}
		m.split()
		want := tt.meta
		if tt.taken {
			want = "null"
		}
		want = `{"params":{"arguments":null,"_meta":` + want + after
		if string(m.brief) != want || string(m.token) != tt.token || string(m.Line) != line {
			t.Errorf("%s: got %s, token %s, line %s", tt.meta, m.brief, m.token, m.Line)
		}
	}
}

func TestOnlyCallsOfToolsAreSplit(t *testing.T) {
	m := incoming{Message: jsonrpc.Message{Method: "prompts/get", Line: []byte(`{"params":{"arguments":{}}}`)}}
	m.split()
	if string(m.brief) != string(m.Line) || m.arguments != nil {
		t.Errorf("got %s and %q", m.brief, m.arguments)
	}
}

// FuzzSplit checks that a tool gets what it would have got from the whole message, and
// that nothing becomes JSON that was not.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"b":"\\"},"_meta":{}}}`))
	f.Add([]byte(`{"params":{"arguments":{}},"params":{"ARGUMENTS":[{"arguments":"\"}"}], "argument\u0073":{} }}`))
	f.Add([]byte(`{"params":{"arguments":null},"params":null}`))
	f.Add([]byte(`{"params":{"arguments":1,,"":{"}`))
	f.Add([]byte(`{"params":{"arguments":"` + strings.Repeat(`\\`, 100) + `\""}}`))
	f.Add([]byte(`{"params":{"_meta":{"progressToken":1e5},"arguments":[]}}`))
	f.Add([]byte(`{"params":{"arguments":{},"_meta":{ "progressToken" : "a\u0041" } }}`))
	f.Add([]byte(`}{`))
	f.Add([]byte(`{"params":{"_meta":{"progressToken":e`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m := incoming{Message: jsonrpc.Message{Method: "tools/call", Line: line}}
		m.split()
		var want, got mcp.CallToolRequest
		wrong, wrongBrief := json.Unmarshal(line, &want), json.Unmarshal(m.brief, &got)
		if (wrong == nil) != (wrongBrief == nil) {
			t.Fatalf("the message: %v; without arguments, %s: %v", wrong, m.brief, wrongBrief)
		}
		if wrong != nil { // messages have been found to be JSON before they are split
			return
		}
		if m.arguments != nil {
			got.Params.Arguments, got.Params.RawArguments = m.values, m.arguments
		}
		if got.Params.Meta == nil && string(m.token) != "null" && len(m.token) > 0 {
			got.Params.Meta = new(mcp.Meta)
			if err := json.Unmarshal([]byte(`{"progressToken":`+string(m.token)+`}`), got.Params.Meta); err != nil {
				t.Fatalf("the token %q: %v", m.token, err)
			}
		}
		want.Params.RawArguments, got.Params.RawArguments = nil, nil // of which blanks may differ
		if !reflect.DeepEqual(got.Params, want.Params) {
			t.Errorf("got %+v, want %+v", got.Params, want.Params)
		}
	})
}

func TestReplyWithoutContentMayHaveAnEmptyArrayOfIt(t *testing.T) {
	for result, want := range map[string]mcp.ElicitationResponseAction{
		`{"action":"decline","content":[]}`:         mcp.ElicitationResponseActionDecline,
		`{"action":"accept","content":[ ]}`:         mcp.ElicitationResponseActionAccept,
		`{"action":"accept","content":{"tags":[]}}`: mcp.ElicitationResponseActionAccept,
	} {
		reply, err := readReply([]byte(`{"jsonrpc":"2.0","id":"x","result":`+result+`}`), mcp.MethodElicitationCreate)
		if err != nil || reply.Elicitation.Action != want {
			t.Errorf("%s: got %+v, %v", result, reply, err)
			continue
		}
		if content, ok := reply.Elicitation.Content.(map[string]any); !ok || content["tags"] != nil && reflect.TypeOf(content["tags"]).Kind() != reflect.Slice {
			t.Errorf("%s: the content is %v", result, reply.Elicitation.Content)
		}
	}
}

func TestNameOfAToolIsWrittenAsItIsListed(t *testing.T) {
	s := &Server{tools: []string{"generate", "list-models", "x_y"}}
	for line, want := range map[string]string{
		`{"params":{"name":"list_models","arguments":{"name":"list_models"}}}`: `{"params":{"name":"list-models","arguments":null}}`,
		`{"params": {"name" : "x-y" }}`:                                        `{"params": {"name" : "x_y" }}`,
		`{"params":{"name":"generate"}}`:                                       `{"params":{"name":"generate"}}`,
		`{"params":{"name":"list_model"}}`:                                     `{"params":{"name":"list_model"}}`,
		`{"params":{"name":"list\u005fmodels"}}`:                               `{"params":{"name":"list\u005fmodels"}}`,
		`{"params":{"name":7}}`:                                                `{"params":{"name":7}}`,
		`{"params":{"name":""}}`:                                               `{"params":{"name":""}}`,
		`{"params":{"name":"*"}}`:                                              `{"params":{"name":"*"}}`,
		`{"params":{}}`:                                                        `{"params":{}}`,
		`[]`:                                                                   `[]`,
	} {
		r := &request{incoming: incoming{Message: jsonrpc.Message{Method: "tools/call", Line: []byte(line)}}}
		r.split()
		if s.respell(r); string(r.brief) != want {
			t.Errorf("%s: got %s, want %s", line, r.brief, want)
		}
	}
}
