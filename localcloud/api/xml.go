package api

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// node is an element of an answer: either text or children. EC2's answers have no mixed content and no attribute but
// the name space of the root.
type node struct {
	name     string
	space    string
	text     string
	children []*node
}

func parseXML(text []byte) (*node, error) {
	decoder := xml.NewDecoder(bytes.NewReader(text))
	var stack []*node
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("parse XML: it ends early: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return nil, fmt.Errorf("parse XML: %w", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			element := &node{name: token.Name.Local}
			if len(stack) == 0 {
				element.space = token.Name.Space
			} else {
				top := stack[len(stack)-1]
				top.children = append(top.children, element)
			}
			stack = append(stack, element)
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(token)
			}
		case xml.EndElement:
			top := stack[len(stack)-1]
			if len(top.children) > 0 || strings.TrimSpace(top.text) == "" {
				top.text = ""
			}
			if stack = stack[:len(stack)-1]; len(stack) == 0 {
				return top, nil
			}
		}
	}
}

func (n *node) bytes() []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	n.write(&b)
	return b.Bytes()
}

func (n *node) write(b *bytes.Buffer) {
	b.WriteString("<" + n.name)
	if n.space != "" {
		fmt.Fprintf(b, " xmlns=%q", n.space)
	}
	b.WriteString(">")
	xml.EscapeText(b, []byte(n.text))
	for _, child := range n.children {
		child.write(b)
	}
	b.WriteString("</" + n.name + ">")
}

// at is the element at a path below, or nil; it may be called on nil.
func (n *node) at(path ...string) *node {
	for _, name := range path {
		n = n.child(name)
	}
	return n
}

func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	for _, child := range n.children {
		if child.name == name {
			return child
		}
	}
	return nil
}

// get is the text at a path below, or empty.
func (n *node) get(path ...string) string {
	if found := n.at(path...); found != nil {
		return strings.TrimSpace(found.text)
	}
	return ""
}

// items are the elements of a list at a path below.
func (n *node) items(path ...string) []*node {
	list := n.at(path...)
	if list == nil {
		return nil
	}
	return list.children
}

// one is the first element of a list at a path below, which must have one: what the server behind answers is not ours.
func (n *node) one(path ...string) (*node, error) {
	if items := n.items(path...); len(items) > 0 {
		return items[0], nil
	}
	return nil, fmt.Errorf("the API server's answer has no %s", strings.Join(path, "."))
}

// all are the texts at a path below, in which * is each child.
func (n *node) all(path ...string) []string {
	if n == nil {
		return nil
	}
	if len(path) == 0 {
		return []string{strings.TrimSpace(n.text)}
	}
	var texts []string
	for _, child := range n.children {
		if path[0] == "*" || path[0] == child.name {
			texts = append(texts, child.all(path[1:]...)...)
		}
	}
	return texts
}

// set gives the text at a path below, and makes the elements on the way.
func (n *node) set(text string, path ...string) {
	for _, name := range path {
		child := n.child(name)
		if child == nil {
			child = &node{name: name}
			n.children = append(n.children, child)
		}
		n = child
	}
	n.text, n.children = text, nil
}

func (n *node) remove(name string) {
	var kept []*node
	for _, child := range n.children {
		if child.name != name {
			kept = append(kept, child)
		}
	}
	n.children = kept
}

// element makes an element of children, for answers that are made here.
func element(name string, children ...*node) *node { return &node{name: name, children: children} }

func text(name, value string) *node { return &node{name: name, text: value} }

// readableXML is an answer without what XML cannot carry: the server behind passes on what a journal of before has.
func readableXML(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if !inXML(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// inXML tells whether XML 1.0 can carry a character: https://www.w3.org/TR/xml/#charsets
func inXML(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' ||
		r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= 0x10ffff
}
