package openai

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// Servers that have the API do not all take the same of it. A request that is refused for
// the form of one member is sent again in another form, and what is accepted then is the
// form for that model from then on.

// question is a request and the other forms that it can be sent in.
type question struct {
	path       string
	model      string
	sent       request
	dropped    []string // options that the API does not have
	others     []alternative
	mayBeEmpty bool // see reading
}

// alternative is a member of a request that a server may refuse.
type alternative struct {
	member string   // and the value, where another may be accepted
	words  []string // of which one is in the words of a refusal
	// isPlain says that a refusal which names the member is about its form. For other
	// members it has to say so, since it may be about the value.
	isPlain bool
	forms   []form // to be sent in its place, one after another
}

// form changes a request. It returns the option that is lost with that; "" for none.
type form func(request) (lost string)

// without leaves a member out.
func without(member, lost string) form {
	return func(r request) string {
		delete(r, member)
		return lost
	}
}

// renamed gives a member another name.
func renamed(from, to string) form {
	return func(r request) string {
		if value, ok := r[from]; ok {
			delete(r, from)
			r[to] = value
		}
		return ""
	}
}

// set gives a member another value.
func set(member string, value any) form {
	return func(r request) string {
		r[member] = value
		return ""
	}
}

// inOnePiece asks for an answer that is not streamed.
func inOnePiece(r request) string {
	delete(r, "stream_options")
	r["stream"] = false
	return ""
}

// asDeveloper gives instructions the role that they have for newer models of OpenAI.
func asDeveloper(r request) string {
	chat := slices.Clone(r["messages"].([]message))
	for i := range chat {
		if chat[i].Role == "system" {
			chat[i].Role = "developer"
		}
	}
	r["messages"] = chat
	return ""
}

// intoFirst puts instructions before the text of the user's next message, for models that know
// no other role than those of a conversation.
func intoFirst(r request) string {
	var chat []message
	var instructions []string
	for _, m := range r["messages"].([]message) {
		text, isText := m.Content.(string)
		parts, _ := m.Content.([]map[string]any)
		switch {
		case (m.Role == "system" || m.Role == "developer") && isText:
			instructions = append(instructions, text)
			continue
		case m.Role == "user" && len(instructions) > 0 && isText:
			m.Content, instructions = strings.Join(append(instructions, text), "\n\n"), nil
		case m.Role == "user" && len(instructions) > 0:
			first := map[string]any{"type": "text", "text": strings.Join(instructions, "\n\n")}
			m.Content, instructions = append([]map[string]any{first}, parts...), nil
		}
		chat = append(chat, m)
	}
	if len(instructions) > 0 { // behind all that the user has said
		chat = append(chat, message{Role: "user", Content: strings.Join(instructions, "\n\n")})
	}
	r["messages"] = chat
	return ""
}

// hasSystem reports whether a chat has instructions.
func hasSystem(chat []message) bool {
	return slices.ContainsFunc(chat, func(m message) bool { return m.Role == "system" })
}

// alternatives are those of the members that a request has.
func (r request) alternatives() []alternative {
	all := []alternative{
		{member: "stream_options", words: []string{"stream_options", "include_usage"}, isPlain: true, forms: []form{without("stream_options", "")}},
		{member: "stream", words: []string{"'stream'", "`stream`", `"stream"`, "stream=true", "(stream)", "streaming", "to stream"}, isPlain: true, forms: []form{inOnePiece}},
	}
	if chat, ok := r["messages"].([]message); ok && hasSystem(chat) {
		all = append(all, alternative{
			member: "system", isPlain: true, forms: []form{asDeveloper, intoFirst},
			words: []string{"'system'", `"system"`, "`system`", "system role", "role system", "system message", "system prompt", "system instruction", "developer instruction", "developer role", "'developer'", "roles must alternate"},
		})
	}
	for limit, other := range map[string]string{"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"} {
		if _, ok := r[limit]; ok {
			all = append(all, alternative{member: limit, words: []string{limit, other}, forms: []form{renamed(limit, other), without(other, "num_predict")}})
		}
	}
	for _, option := range slices.Sorted(maps.Keys(parameters)) {
		parameter := parameters[option]
		if _, ok := r[parameter]; ok {
			all = append(all, alternative{member: parameter, words: []string{parameter}, forms: []form{without(parameter, option)}})
		}
	}
	if effort, ok := r["reasoning_effort"].(string); ok {
		forms := []form{without("reasoning_effort", "think")}
		if !slices.Contains([]string{"low", "medium", "high"}, effort) {
			forms = slices.Insert(forms, 0, set("reasoning_effort", "high"))
		}
		all = append(all, alternative{member: "reasoning_effort " + effort, words: []string{"reasoning", "think", "effort"}, isPlain: true, forms: forms})
	}
	if wanted, ok := r["response_format"].(map[string]any); ok {
		other := formatOf(`{"type":"object"}`)
		if wanted["type"] == "json_schema" {
			other = formatOf(`"json"`)
		}
		all = append(all, alternative{
			member: "response_format " + wanted["type"].(string), isPlain: true,
			words: []string{"response_format", "response format", "json_object", "json_schema", "json schema", "json mode", "structured output", "response_schema", "responseschema", "response_mime", "responsemime", "guided"},
			forms: []form{set("response_format", other), without("response_format", "format")},
		})
	}
	return all
}

// refused returns which of a question's members a server has refused for its form.
func (q *question) refused(err error) (alternative, bool) {
	e, ok := errors.AsType[*backend.Error](err)
	if !ok || e.Status < 400 || e.Class != backend.Request && e.Class != backend.Server {
		return alternative{}, false
	}
	said := strings.ToLower(e.Message)
	unsupported := contains(said, []string{
		"unsupported", "not support", "n't support", "unknown", "unrecogni", "unexpected", "not permitted", "not allowed", "only 1 is allowed",
		"extra input", "extra field", "extra_forbidden", "additional propert", "not available", "unavailable", "not implemented",
		"only the default", "deprecated", "no longer", "may only be", "can only be", "cannot both", "incompatible", "not compatible", "mutually exclusive",
		"cannot be used", "cannot be specified", "can't be used",
	})
	for _, a := range q.inTurn(said) {
		if !contains(said, a.words) || !unsupported && !a.isPlain || !unsupported && e.Class == backend.Server {
			continue
		}
		if strings.HasPrefix(a.member, "response_format") && contains(said, []string{"invalid schema", "invalid json schema", "invalid_json_schema"}) {
			continue // it is the schema that is refused
		}
		return a, true
	}
	return alternative{}, false
}

// inTurn are the other forms of a question, in the order in which they are looked for in the
// words of a refusal: of two members that exclude each other the less usual one is left out.
func (q *question) inTurn(said string) []alternative {
	others := slices.Clone(q.others)
	if contains(said, []string{"both", "either", "only one", "mutually exclusive"}) {
		slices.Reverse(others)
	}
	return others
}

func contains(text string, words []string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}

// in is the request with some members in other forms, and the options that it lacks.
// refusals counts for a member how many of its forms are refused.
func (q *question) in(refusals map[string]int) (request, []string) {
	r, dropped := maps.Clone(q.sent), slices.Clone(q.dropped)
	for _, a := range q.others {
		n := min(refusals[q.path+" "+a.member], len(a.forms))
		for i := range n {
			if lost := a.forms[i](r); lost != "" {
				dropped = append(dropped, lost)
			}
		}
	}
	return r, dropped
}

// ask sends a question, again in another form where it is refused for the form of a member,
// and puts the streamed answer together.
func (h *Host) ask(ctx context.Context, q *question, onPiece func(backend.Piece)) (*backend.Answer, error) {
	h.mu.Lock()
	refusals := maps.Clone(h.refusals[q.model])
	h.mu.Unlock()
	for learned := false; ; learned = true {
		sent, dropped := q.in(refusals)
		a := remote.Assemble(onPiece)
		a.Answer.Dropped = dropped
		r := reading{mayBeEmpty: q.mayBeEmpty}
		got, err := h.conn.Stream(ctx, q.path, "text/event-stream", sent, a, r.read)
		if err == nil && learned {
			h.remember(q.model, refusals)
		}
		other, ok := q.refused(err)
		key := q.path + " " + other.member
		if got != nil || !ok || refusals[key] >= len(other.forms) {
			return got, err
		}
		if refusals == nil {
			refusals = make(map[string]int)
		}
		refusals[key]++
	}
}

// remember notes the forms in which a model has answered. A model of which there is
// something to note exists, so these are not many.
func (h *Host) remember(model string, refusals map[string]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refusals == nil {
		h.refusals = make(map[string]map[string]int)
	}
	all := maps.Clone(refusals)
	for member, n := range h.refusals[model] {
		all[member] = max(all[member], n)
	}
	h.refusals[model] = all
}
