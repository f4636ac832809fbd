// Package openapi holds the description of the REST interface, generated from the protos.
package openapi

import _ "embed"

// Document is the OpenAPI 2.0 description, JSON. It must not be changed.
//
//go:embed amanat.swagger.json
var Document []byte
