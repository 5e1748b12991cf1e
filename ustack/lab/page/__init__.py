"""The lab's pages: a report as a picture, a page that opens offline, a site, and a server for one's own machine.

``story`` chooses what is shown, ``scale`` gives each instant its height, ``margin`` lays out the notes, ``plan`` says
where everything stands, ``picture`` draws; ``moments`` gathers what the slider shows; ``parts`` and ``shell`` make a
page of it, ``write`` files and sites, ``form``, ``worker`` and ``serve`` the pages with settings. A page is a tree of
elements of the standard library: whatever stands in it is escaped where the tree is written, so that no title can
become markup. What is not Python are the files ``*.css`` and ``*.js`` beside this one.
"""
