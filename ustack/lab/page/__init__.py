"""The lab's pages: a report as a picture, a page that opens offline, a site, and a server for one's own machine.

``scale`` gives each instant its height, ``margin`` lays out the notes, ``picture`` draws; ``headers`` decodes packets,
``moments`` gathers what the slider shows; ``html`` and ``site`` write pages, ``serve`` hands them out. A page is a tree
of elements of the standard library: whatever stands in it is escaped where the tree is written, so that no title can
become markup. What is not Python are the files ``*.css`` and ``*.js`` beside this one.
"""
