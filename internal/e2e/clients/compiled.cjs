// Has Node keep what it compiles beside the packages: most programs are used many times, and
// compiling them takes longer than what they do.
require('node:module').enableCompileCache(require('node:path').join(__dirname, 'node_modules', '.compiled'));
