package schema

import "strings"

// Unlisted is what the description of an argument begins with that clients are not shown, though
// they may use it: the documentation of tools has the rest.
const Unlisted = "unlisted: "

// Brief returns the document as it is shown to clients, whose models pay for every byte of it
// on each request. It allows whatever the document allows, and more:
//
//   - of several kinds of value it shows the last, whose words the description must then add;
//   - arguments and members of an object are shown only if they are described, and not as
//     Unlisted; others are for callers who know them;
//   - limits, such as the length of a list, and the refusal of unknown arguments are left to the
//     check of a call, whose errors help more than those of a client's own check.
func (s *Schema) Brief() *Document { return mainPoints(s.doc) }

// BriefOutput returns a document of results as it is shown to clients: the members that are
// always there, if they are described and not as Unlisted, one level deep. Some clients check errors
// against it too, so it requires nothing.
func BriefOutput(doc *Document) *Document {
	shown := &Document{Type: doc.Type}
	for _, name := range doc.Required {
		if p := doc.Properties[name]; isListed(p) {
			addMember(shown, name, &Document{Type: p.Type, Description: p.Description})
		}
	}
	return shown
}

// addMember adds a member to an object.
func addMember(object *Document, name string, p *Document) {
	if object.Properties == nil {
		object.Properties = make(map[string]*Document)
	}
	object.Properties[name] = p
	object.PropertyOrder = append(object.PropertyOrder, name)
}

func isListed(p *Document) bool {
	return p.Description != "" && !strings.HasPrefix(p.Description, Unlisted)
}

func mainPoints(doc *Document) *Document {
	shown := &Document{Type: doc.Type, Description: doc.Description, Enum: doc.Enum}
	if n := len(doc.AnyOf); n > 0 {
		last := mainPoints(doc.AnyOf[n-1])
		shown.Type, shown.Items = last.Type, last.Items // not its enum: the other kinds have other values
	}
	if doc.Items != nil {
		shown.Items = mainPoints(doc.Items)
	}
	for _, name := range doc.PropertyOrder {
		if p := doc.Properties[name]; isListed(p) {
			addMember(shown, name, mainPoints(p))
		}
	}
	for _, name := range doc.Required {
		if shown.Properties[name] != nil {
			shown.Required = append(shown.Required, name)
		}
	}
	return shown
}
