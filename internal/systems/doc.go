// Package systems has a test that the program compiles for systems other than the one that the
// tests run on. It compiles nothing: types are checked, of all files that would be compiled.
package systems
