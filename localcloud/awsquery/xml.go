package awsquery

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Node is an element of an answer: either text or children. EC2's answers have no mixed content and no attribute but
// the name space of the root.
type Node struct {
	Name     string
	Space    string
	text     string
	Children []*Node
}

// ParseXML reads a document into its root element.
func ParseXML(text []byte) (*Node, error) {
	decoder := xml.NewDecoder(bytes.NewReader(text))
	var stack []*Node
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
			element := &Node{Name: token.Name.Local}
			if len(stack) == 0 {
				element.Space = token.Name.Space
			} else {
				top := stack[len(stack)-1]
				top.Children = append(top.Children, element)
			}
			stack = append(stack, element)
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(token)
			}
		case xml.EndElement:
			top := stack[len(stack)-1]
			if len(top.Children) > 0 || strings.TrimSpace(top.text) == "" {
				top.text = ""
			}
			if stack = stack[:len(stack)-1]; len(stack) == 0 {
				return top, nil
			}
		}
	}
}

// Bytes is the element as a document.
func (n *Node) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	n.write(&b)
	return b.Bytes()
}

func (n *Node) write(b *bytes.Buffer) {
	b.WriteString("<" + n.Name)
	if n.Space != "" {
		fmt.Fprintf(b, " xmlns=%q", n.Space)
	}
	b.WriteString(">")
	_ = xml.EscapeText(b, []byte(n.text))
	for _, child := range n.Children {
		child.write(b)
	}
	b.WriteString("</" + n.Name + ">")
}

// At is the element at a path below, or nil; it may be called on nil.
func (n *Node) At(path ...string) *Node {
	for _, name := range path {
		n = n.child(name)
	}
	return n
}

func (n *Node) child(name string) *Node {
	if n == nil {
		return nil
	}
	for _, child := range n.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}

// Get is the text at a path below, or empty.
func (n *Node) Get(path ...string) string {
	if found := n.At(path...); found != nil {
		return strings.TrimSpace(found.text)
	}
	return ""
}

// Items are the elements of a list at a path below.
func (n *Node) Items(path ...string) []*Node {
	list := n.At(path...)
	if list == nil {
		return nil
	}
	return list.Children
}

// One is the first element of a list at a path below, which must have one: what moto answers is not ours.
func (n *Node) One(path ...string) (*Node, error) {
	if items := n.Items(path...); len(items) > 0 {
		return items[0], nil
	}
	return nil, fmt.Errorf("moto's answer has no %s", strings.Join(path, "."))
}

// All are the texts at a path below, in which * is each child.
func (n *Node) All(path ...string) []string {
	if n == nil {
		return nil
	}
	if len(path) == 0 {
		return []string{strings.TrimSpace(n.text)}
	}
	var texts []string
	for _, child := range n.Children {
		if path[0] == "*" || path[0] == child.Name {
			texts = append(texts, child.All(path[1:]...)...)
		}
	}
	return texts
}

// Set gives the text at a path below, and makes the elements on the way.
func (n *Node) Set(text string, path ...string) {
	for _, name := range path {
		child := n.child(name)
		if child == nil {
			child = &Node{Name: name}
			n.Children = append(n.Children, child)
		}
		n = child
	}
	n.text, n.Children = text, nil
}

// Remove takes all children of a name away.
func (n *Node) Remove(name string) {
	var kept []*Node
	for _, child := range n.Children {
		if child.Name != name {
			kept = append(kept, child)
		}
	}
	n.Children = kept
}

// Element makes an element of children, for answers that are made here.
func Element(name string, children ...*Node) *Node { return &Node{Name: name, Children: children} }

// Text makes an element that holds text.
func Text(name, value string) *Node { return &Node{Name: name, text: value} }

// ReadableXML is an answer without what XML cannot carry: moto passes on what a journal of before has.
func ReadableXML(text []byte) []byte {
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
