package jsonrpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestEnvelopeFindsTheSameInPiecesOfAnySize(t *testing.T) {
	message := []byte(`{ "params" : {"id":1,"x":["\\\"}",{}]} , "method":"tools\/call", "id" : "a\"}," , "result": null }`)
	for size := 1; size <= len(message); size++ {
		var e Envelope
		for rest := message; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			_, _ = e.Write(rest[:min(size, len(rest))])
		}
		id, _ := e.RequestID()
		method, _ := e.MethodName()
		if string(id) != `"a\"},"` || method != "tools/call" || !e.IsObject || !e.IsReply {
			t.Errorf("in pieces of %d: id %s, method %q, object %t, reply %t", size, id, method, e.IsObject, e.IsReply)
		}
	}
}

// FuzzEnvelope compares what is found in a message with what encoding/json finds.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	f.Add([]byte(`{"method":"a\u0062","params":{"id":[{"id":"}"}]},"i\u0064":"\"","error":{}}`))
	f.Add([]byte(` { "id" : -1.5e+3 , "id" : null , "" : {} } `))
	f.Add([]byte(`{"id":"` + strings.Repeat("x", MaxToken) + `"}`))
	f.Add([]byte(`{"id":` + strings.Repeat("1", MaxToken+1) + `}`))
	f.Add([]byte("{\"id\":\"\xff\",\"method\":\"ping\"}"))
	f.Add([]byte(`[{"id":1}]`))
	f.Add([]byte(`}{"id":1}`))
	f.Add([]byte(`{"id":1,"method":"tools/list","Method":"tools/call"}`))
	f.Add([]byte(`{"id":1,"ID":2,"method":"tools/list","PARAM\u017f":{}}`))
	f.Add([]byte(`{"id":1,"method":"tools/list","method":"tools/call"}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		var e Envelope
		_, _ = e.Write(message)
		if len(e.id) > MaxToken+1 || len(e.method) > MaxToken+1 || cap(e.token) > 2*MaxToken {
			t.Fatalf("kept %d bytes of an id, %d of a method, %d of a token", len(e.id), len(e.method), cap(e.token))
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(message, &want) != nil || want == nil {
			return
		}
		_, result := want["result"]
		_, failed := want["error"]
		if !e.IsObject || e.IsReply != (result || failed) {
			t.Errorf("object %t, reply %t", e.IsObject, e.IsReply)
		}
		compare(t, "id", e.id, want["id"])
		compare(t, "method", e.method, want["method"])
		compareWithDecoder(t, &e, message, want)
		if id, ok := e.RequestID(); ok && !bytes.Equal(id, want["id"]) {
			t.Errorf("request id %s, want %s", id, want["id"])
		}
	})
}

// compareWithDecoder compares what is found with what is executed: encoding/json takes names
// in any case, and the last of those that are alike. Where that may not be what another
// reader takes, the message is doubtful.
func compareWithDecoder(t *testing.T, e *Envelope, message []byte, exactly map[string]json.RawMessage) {
	t.Helper()
	var executed struct {
		JSONRPC json.RawMessage `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  json.RawMessage `json:"method"`
		Params  json.RawMessage `json:"params"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(message, &executed); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]json.RawMessage{
		"jsonrpc": executed.JSONRPC, "id": executed.ID, "method": executed.Method,
		"params": executed.Params, "result": executed.Result, "error": executed.Error,
	} {
		if !e.Doubtful && !bytes.Equal(got, exactly[name]) {
			t.Errorf("%s is executed as %s, and another reader sees %s", name, got, exactly[name])
		}
	}
	if whole := Doubtful(bytes.TrimLeft(message, " \t\r\n"), topMembers...); whole != e.Doubtful {
		t.Errorf("doubtful is %t in pieces, and %t in whole", e.Doubtful, whole)
	}
}

func compare(t *testing.T, name string, got []byte, want json.RawMessage) {
	t.Helper()
	var compact bytes.Buffer
	if len(want) > 0 {
		if err := json.Compact(&compact, want); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, compact.Bytes()[:min(compact.Len(), MaxToken+1)]) {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

func TestMessagesThatTwoReadersTakeDifferentlyAreMalformed(t *testing.T) {
	for line, doubtful := range map[string]bool{
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}`:          true,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}`:          true,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","\u006dethod":"tools/call"}`:     true,
		`{"jsonrpc":"2.0","id":1,"Id":2,"method":"tools/list"}`:                         true,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","Params":{}}`:                    true,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","param\u017f":{}}`:               true,
		`{"jsonrpc":"2.0","JSONRPC":"1.0","method":"notifications/initialized"}`:        true,
		`{"jsonrpc":"2.0","id":1,"result":{},"Result":{}}`:                              true,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"id":2,"Method":"x"}}`: false,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","methods":1,"x":1,"X":2}`:        false,
	} {
		var e Envelope
		_, _ = e.Write([]byte(line))
		m := e.Message([]byte(line))
		if m.Doubtful != doubtful || (m.Kind == KindMalformed) != doubtful {
			t.Errorf("%s: doubtful %t, kind %d", line, m.Doubtful, m.Kind)
		}
		// Refused under the id of a reply, it would end a request of the client with that id.
		if mayBeReply := strings.Contains(line, `"result"`); mayBeReply != (m.ID == nil && strings.Contains(line, `"id"`)) {
			t.Errorf("%s: the id is %s", line, m.ID)
		}
	}
}

func TestByteOrderMarkBeforeAMessageIsSkipped(t *testing.T) {
	const mark, message = "\ufeff", `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for line, want := range map[string]Kind{
		mark + message:                  KindRequest,
		" \t" + mark + "\r\n" + message: KindRequest,
		mark:                            KindNothing,
		mark + mark + message:           KindRequest, // which is no JSON, as decoding it shows
		message + mark:                  KindRequest, // likewise
	} {
		var e Envelope
		_, _ = e.Write([]byte(line))
		m := e.Message([]byte(line))
		once := strings.Count(line, mark) == 1 && !strings.HasSuffix(line, mark)
		if m.Kind != want || json.Valid(m.Line) != (once && want == KindRequest) {
			t.Errorf("%q: kind %d, %q", line, m.Kind, m.Line)
		}
	}
}

func BenchmarkEnvelope(b *testing.B) {
	message := func(size int) []byte {
		return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":"generate","arguments":{"images":["%s"]}}}`,
			strings.Repeat("iVBORw0K", size/8))
	}
	for _, size := range []int{100, 10 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			message := message(size)
			b.SetBytes(int64(len(message)))
			var e Envelope
			for b.Loop() {
				e.Reset()
				_, _ = e.Write(message)
			}
		})
	}
}
