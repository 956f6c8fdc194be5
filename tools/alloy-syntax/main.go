// Usage: alloy-syntax FILE
//
// Reads a configuration of Grafana Alloy with Alloy's own parser, and says what is wrong with it. The parser knows the language, and not the
// components. What the stages of loki.process have in languages of their own is tried here too, with the libraries that Alloy has: each line of
// standard input goes through them, and comes out as a JSON object with the line and its level.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/grafana/alloy/syntax/ast"
	"github.com/grafana/alloy/syntax/parser"
	"github.com/grafana/alloy/syntax/vm"
	"github.com/jmespath-community/go-jmespath"
)

// stage changes a line, or what has been found in it.
type stage func(line *string, found map[string]any)

func main() {
	text, err := os.ReadFile(os.Args[1])
	check(err)
	file, err := parser.ParseFile(os.Args[1], text)
	check(err)
	var stages []stage
	for _, statement := range file.Body {
		block, ok := statement.(*ast.BlockStmt)
		if !ok || strings.Join(block.Name, ".") != "loki.process" {
			continue
		}
		for _, inner := range block.Body {
			if made, ok := inner.(*ast.BlockStmt); ok {
				stages = append(stages, stageOf(strings.Join(made.Name, "."), attributes(made)))
			}
		}
	}
	output := json.NewEncoder(os.Stdout)
	output.SetEscapeHTML(false)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line, found := lines.Text(), map[string]any{}
		for _, apply := range stages {
			apply(&line, found)
		}
		check(output.Encode(map[string]any{"line": line, "level": found["level"]}))
	}
	check(lines.Err())
}

func attributes(block *ast.BlockStmt) map[string]any {
	values := map[string]any{}
	for _, statement := range block.Body {
		if attribute, ok := statement.(*ast.AttributeStmt); ok {
			var value any
			check(vm.New(attribute.Value).Evaluate(vm.NewScope(nil), &value))
			values[attribute.Name.Name] = value
		}
	}
	return values
}

func stageOf(name string, values map[string]any) stage {
	switch name {
	case "stage.replace":
		return replace(regexp.MustCompile(values["expression"].(string)), values["replace"].(string))
	case "stage.regex":
		expression := regexp.MustCompile(values["expression"].(string))
		return func(line *string, found map[string]any) {
			if groups := expression.FindStringSubmatch(*line); groups != nil {
				for number, group := range expression.SubexpNames() {
					if group != "" {
						found[group] = groups[number]
					}
				}
			}
		}
	case "stage.json":
		return fields(values["expressions"].(map[string]any))
	case "stage.template":
		made, err := template.New(name).Funcs(sprig.TxtFuncMap()).Parse(values["template"].(string))
		check(err)
		return func(line *string, found map[string]any) {
			known := map[string]any{"Entry": *line}
			for key, value := range found {
				if value != nil {
					known[key] = fmt.Sprint(value)
				}
			}
			var text bytes.Buffer
			check(made.Execute(&text, known))
			found[values["source"].(string)] = text.String()
		}
	case "stage.labels", "stage.tenant", "stage.label_drop":
		return func(*string, map[string]any) {}
	}
	check(fmt.Errorf("no stage %s is known here", name))
	return nil
}

// replace puts a text in the place of every group of every match.
func replace(expression *regexp.Regexp, with string) stage {
	return func(line *string, _ map[string]any) {
		var text strings.Builder
		end := 0
		for _, match := range expression.FindAllStringSubmatchIndex(*line, -1) {
			for group := 2; group < len(match); group += 2 {
				if match[group] >= end {
					text.WriteString((*line)[end:match[group]] + with)
					end = match[group+1]
				}
			}
		}
		*line = text.String() + (*line)[end:]
	}
}

func fields(expressions map[string]any) stage {
	return func(line *string, found map[string]any) {
		var data map[string]any
		if json.Unmarshal([]byte(*line), &data) != nil {
			return
		}
		for name, expression := range expressions {
			value, err := jmespath.Search(expression.(string), data)
			check(err)
			found[name] = value
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
